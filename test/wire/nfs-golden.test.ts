import t from 'tap'
import { type Attr, FileType } from '../../overlay-core/index.ts'
import { NfsExport } from '../../protocols/nfs/exports/export-table.ts'
import { decodeSattr3, encodeFattr3, encodePostOpAttr, encodeWccData } from '../../protocols/nfs/nfs3/attributes.ts'
import { decodeCookie, encodeCookie } from '../../protocols/nfs/nfs3/directory-page.ts'
import { Decoder } from '../../protocols/nfs/xdr/decoder.ts'
import { Encoder } from '../../protocols/nfs/xdr/encoder.ts'
import { callMessage, NO_AUTH, record, XdrWriter } from '../helpers/rpc-client.ts'
import { type NfsFixture, withNfs } from '../protocols/nfs/nfs-fixture.ts'
import { withFixedNumbers } from './fixed-numbers.ts'

const ATTR: Attr = {
  type: FileType.block,
  mode: 0o4755,
  nlink: 3,
  uid: 1000,
  gid: 0xffff_fffe,
  size: 0x1f_ffff_0000_0001,
  blocks: 9,
  rdevMajor: 8,
  rdevMinor: 17,
  fileIdHi: 0x8000_0001,
  fileIdLo: 0xffff_ffff,
  atime: { sec: 1, nsec: 2 },
  mtime: { sec: -1, nsec: 999_999_999 },
  ctime: { sec: 0x7fff_ffff, nsec: 0 },
  btime: undefined,
}

/** The parts of an item in hex, spaces for the eye. */
const FATTR3 =
  '00000003 000009ed 00000003 000003e8 fffffffe 001fffff00000001 0000000000001200 00000008 00000011' +
  ' 0011223344556677 80000001ffffffff 00000001 00000002 ffffffff 3b9ac9ff 7fffffff 00000000'

const hex = (spaced: string): string => spaced.replaceAll(' ', '')

function encoded(write: (out: Encoder) => void): string {
  const out = new Encoder(Buffer.alloc(512, 0xee))
  write(out)
  return out.bytes.toString('hex', 0, out.pos)
}

t.test('fattr3, post_op_attr and wcc_data', async (t) => {
  await withNfs(t, [{}], async ({ overlay }) => {
    const uuid = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    const served = new NfsExport(
      { name: 'x', overlay: Object.create(overlay, { uuid: { value: uuid } }), rules: [] },
      0,
    )
    t.equal(
      encoded((out) => encodeFattr3(out, ATTR, served)),
      hex(FATTR3),
    )
    t.equal(
      encoded((out) => encodePostOpAttr(out, ATTR, served)),
      hex(`00000001${FATTR3}`),
    )
    t.equal(
      encoded((out) => encodePostOpAttr(out, undefined, served)),
      '00000000',
    )
    t.equal(
      encoded((out) => encodeWccData(out, undefined, served)),
      '0000000000000000',
    )
    t.equal(
      encoded((out) => encodeWccData(out, { before: ATTR }, served)),
      hex('00000001 001fffff00000001 ffffffff 3b9ac9ff 7fffffff 00000000 00000000'),
    )
    t.equal(
      encoded((out) => encodeWccData(out, { after: ATTR }, served)),
      hex(`00000000 00000001 ${FATTR3}`),
    )
  })
})

t.test('sattr3', async (t) => {
  const decode = (spaced: string) => decodeSattr3(new Decoder(Buffer.from(hex(spaced), 'hex')))
  const nothing = {
    mode: undefined,
    uid: undefined,
    gid: undefined,
    size: undefined,
    atime: undefined,
    mtime: undefined,
  }
  t.same(decode('00000000 00000000 00000000 00000000 00000000 00000000'), nothing)
  t.same(
    decode(
      '00000001 000001a4 00000001 00000005 00000001 00000006 00000001 0000000100000000 00000001 00000002 ffffffff 3b9ac9ff',
    ),
    { mode: 0o644, uid: 5, gid: 6, size: 2 ** 32, atime: 'now', mtime: { sec: 0xffff_ffff, nsec: 999_999_999 } },
  )
  t.ok(Number.isNaN(decode('00000000 00000000 00000000 00000001 ffffffffffffffff 00000000 00000000').size))
  for (const bad of ['00000002', '00000000 00000000 00000000 00000000 00000003', '00000000 00000000']) {
    t.throws(() => decode(bad), { name: 'XdrError' })
  }
})

t.test('cookies are those of the core plus two, in 64 bits', async (t) => {
  const golden: [core: number, wire: string][] = [
    [1, '0000000000000003'],
    [0xffff_fffd, '00000000ffffffff'],
    [0xffff_fffe, '0000000100000000'],
    [0xffff_ffff, '0000000100000001'],
    [0x1_0000_0000, '0000000100000002'],
    [Number.MAX_SAFE_INTEGER - 1, '0020000000000000'],
    [Number.MAX_SAFE_INTEGER, '0020000000000001'],
  ]
  for (const [cookie, wire] of golden) {
    t.equal(
      encoded((out) => encodeCookie(out, cookie)),
      wire,
    )
    t.same(decodeCookie(new Decoder(Buffer.from(wire, 'hex'))), { dots: 2, cookie })
  }
  for (const dots of [0, 1, 2])
    t.same(decodeCookie(new Decoder(new XdrWriter().u64(dots).bytes())), { dots, cookie: 0 })
  t.throws(() => decodeCookie(new Decoder(Buffer.from('0020000000000002', 'hex'))), { name: 'Nfs3Error' })
})

t.test('whole messages', async (t) => {
  const check = async ({ client }: NfsFixture) => {
    const exchange = async (xid: number, program: [number, number, number], args?: Buffer) =>
      (await client.rpc.exchange(xid, record(callMessage(xid, program, NO_AUTH, args)))).toString('hex')
    const accepted = '00000001 00000000 00000000 00000000'
    t.equal(await exchange(0xcafe, [100003, 3, 0]), hex(`0000cafe ${accepted} 00000000`), 'NULL of NFS')
    t.equal(await exchange(0xffff_ffff, [100005, 3, 0]), hex(`ffffffff ${accepted} 00000000`), 'NULL of MOUNT')
    t.equal(await exchange(7, [100003, 2, 0]), hex(`00000007 ${accepted} 00000002 00000003 00000004`), 'version 2')
    t.equal(await exchange(7, [100003, 4, 0]), hex(`00000007 ${accepted} 00000000`), 'NULL of version 4')
    t.equal(
      await exchange(7, [100005, 1, 0]),
      hex(`00000007 ${accepted} 00000002 00000003 00000003`),
      'MOUNT version 1',
    )
    t.equal(await exchange(8, [100000, 2, 0]), hex(`00000008 ${accepted} 00000001`), 'no portmapper here')
    t.equal(await exchange(9, [100003, 3, 22]), hex(`00000009 ${accepted} 00000003`), 'there are 22 procedures')
    t.equal(await exchange(10, [100003, 3, 1]), hex(`0000000a ${accepted} 00000004`), 'GETATTR without arguments')

    const mnt = await exchange(11, [100005, 3, 1], new XdrWriter().string('/overlay').bytes())
    const root = '00000001 39fed49e 001d000000000001 9e000001 9c17b7c4 11b443e8 8f8781a3 e7e2f2aa'
    t.equal(mnt, hex(`0000000b ${accepted} 00000000 00000000 00000024 ${root} 00000001 00000001`))
  }
  await withNfs(t, [{}], check, { decorate: withFixedNumbers })
})
