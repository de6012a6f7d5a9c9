import { type BigIntStats, existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { NFS, PROCEDURES, type Procedure } from '../helpers/nfs-client.ts'
import { authSys, callMessage, record, XdrWriter } from '../helpers/rpc-client.ts'
import { WRITE_VERIFIER, withNfs } from '../protocols/nfs/nfs-fixture.ts'

// Every procedure of NFSv3, request and reply, byte for byte: what is the same in every run is written out, attributes come from lstat of the layers
// through an encoder of this file's own.

const hex = (spaced: string): string => spaced.replaceAll(/\s/g, '')
const word = (value: number | bigint): string => (BigInt(value) & 0xffff_ffffn).toString(16).padStart(8, '0')
const hyper = (value: number | bigint): string => BigInt(value).toString(16).padStart(16, '0')
const opaque = (bytes: Buffer): string => new XdrWriter().opaque(bytes).bytes().toString('hex')
const text = (value: string): string => opaque(Buffer.from(value))
const time = (ns: bigint): string => word(ns / 1_000_000_000n) + word(ns % 1_000_000_000n)

const TRUE = '00000001'
const FALSE = '00000000'
const OK = '00000000'
const NO_ATTRIBUTES = '00000000'.repeat(6)
const FTYPE3: Record<string, number> = { '8': 1, '4': 2, '6': 3, '2': 4, a: 5, c: 6, '1': 7 }

t.test('the 22 procedures', async (t) => {
  const lower = { file: { content: 'content', mode: 0o640 }, 'dir/inside': 'x', link: '-> target', old: 'old' }
  await withNfs(t, [lower], async ({ client, root, overlay, upper, lowers }) => {
    const fsid = Buffer.from(overlay.uuid).toString('hex', 0, 8)
    const onLayer = (path: string): BigIntStats => {
      const there = lstatSync(join(upper, path), { bigint: true, throwIfNoEntry: false })
      return there ?? lstatSync(join(lowers[0]!, path), { bigint: true })
    }
    const ids = new Map<string, bigint>()
    const idOf = async (path: string): Promise<bigint> => {
      const handle = path === '' ? root : await client.walk(root, path)
      const fileid = (await client.getattr(handle)).attr!.fileid
      ids.set(path, fileid)
      return fileid
    }
    /** A directory of several layers has one link, as in the kernel. */
    const isMerged = (path: string) =>
      path === '' ||
      (existsSync(join(upper, path)) && existsSync(join(lowers[0]!, path)) && onLayer(path).isDirectory())
    /** A `fattr3` by what lies on the layers. */
    const fattr = async (path: string, id?: bigint): Promise<string> => {
      const stat = onLayer(path)
      const type = FTYPE3[(Number(stat.mode) >> 12).toString(16)]!
      const device = Number(stat.rdev)
      return hex(
        `${word(type)} ${word(Number(stat.mode) & 0o7777)} ${word(isMerged(path) ? 1 : stat.nlink)} ${word(stat.uid)} ${word(stat.gid)}
         ${hyper(stat.size)} ${hyper(stat.blocks * 512n)} ${word(device >> 8)} ${word(device & 0xff)} ${fsid}
         ${hyper(id ?? (await idOf(path)))} ${time(stat.atimeNs)} ${time(stat.mtimeNs)} ${time(stat.ctimeNs)}`,
      )
    }
    const attributes = async (path: string): Promise<string> => TRUE + (await fattr(path))
    const before = (path: string): string => {
      const { size, mtimeNs, ctimeNs } = onLayer(path)
      return TRUE + hyper(size) + time(mtimeNs) + time(ctimeNs)
    }
    const handle = async (path: string): Promise<string> => opaque(path === '' ? root : await client.walk(root, path))

    const tried = new Set<Procedure>()
    let xid = 0x4000
    /** Sends arguments as they stand here, and compares the reply with what `expected` makes of the layers after it. */
    const golden = async (procedure: Procedure, request: string, expected: () => Promise<string>) => {
      tried.add(procedure)
      const what: [number, number, number] = [NFS, 3, PROCEDURES.indexOf(procedure)]
      const message = callMessage(++xid, what, authSys(0, 0), Buffer.from(hex(request), 'hex'))
      const reply = (await client.rpc.exchange(xid, record(message))).toString('hex')
      t.equal(
        reply,
        hex(`${word(xid)} 00000001 00000000 00000000 00000000 00000000`) + hex(await expected()),
        procedure,
      )
    }
    const wcc = async (path: string, was: string) => was + (await attributes(path))

    await golden('NULL', '', async () => '')
    await golden('GETATTR', await handle('file'), async () => OK + (await fattr('file')))
    await golden('LOOKUP', (await handle('')) + text('file'), async () =>
      [OK, await handle('file'), await attributes('file'), await attributes('')].join(''),
    )
    await golden('LOOKUP', (await handle('')) + text('none'), async () => word(2) + (await attributes('')))
    await golden('ACCESS', `${await handle('file')} 0000003f`, async () => `${OK} ${await attributes('file')} 0000000d`)
    await golden(
      'READLINK',
      await handle('link'),
      async () => `${OK} ${await attributes('link')} 00000006 746172676574 0000`,
    )
    await golden(
      'READ',
      `${await handle('file')} 0000000000000003 00000064`,
      async () => `${OK} ${await attributes('file')} 00000004 ${TRUE} 00000004 74656e74`,
    )
    const root2 = await handle('')
    await golden(
      'FSINFO',
      root2,
      async () =>
        `${OK} ${await attributes('')} 00100000 00100000 00001000 00100000 00100000 00001000 00010000 001fffffffffffff 00000000 00000001 0000001b`,
    )
    await golden(
      'PATHCONF',
      root2,
      async () => `${OK} ${await attributes('')} 00007d00 000000ff ${TRUE} ${TRUE} ${FALSE} ${TRUE}`,
    )
    // Names in the order of a hash, which is each overlay's own: one entry, and the end behind it.
    const dir = await handle('dir')
    const inside = (await client.list(await client.walk(root, 'dir'))).at(-1)!
    const list = async (plus: boolean) => {
      const entry = async (name: string, path: string, cookie: bigint) =>
        [
          TRUE,
          hyper(await idOf(path)),
          text(name),
          hyper(cookie),
          plus ? (await attributes(path)) + TRUE + (await handle(path)) : '',
        ].join('')
      return [
        ...[OK, await attributes('dir'), hyper(0)],
        ...[await entry('.', 'dir', 1n), await entry('..', '', 2n), await entry('inside', 'dir/inside', inside.cookie)],
        ...[FALSE, TRUE],
      ].join('')
    }
    await golden('READDIR', `${dir} ${hyper(0)} ${hyper(0)} 00001000`, () => list(false))
    await golden('READDIRPLUS', `${dir} ${hyper(0)} ${hyper(0)} 00001000 00001000`, () => list(true))

    let was = before('')
    await golden('CREATE', `${root2} ${text('new')} 00000001 ${TRUE} 000001a4 ${'00000000'.repeat(5)}`, async () =>
      [OK, TRUE, await handle('new'), await attributes('new'), await wcc('', was)].join(''),
    )
    const made = await handle('new')
    was = before('new')
    await golden(
      'SETATTR',
      `${made} ${TRUE} 00000180 ${'00000000'.repeat(5)} ${FALSE}`,
      async () => OK + (await wcc('new', was)),
    )
    was = before('new')
    const refused = await attributes('new')
    await golden(
      'SETATTR',
      `${made} ${NO_ATTRIBUTES} ${TRUE} 00000001 00000001`,
      async () => `${word(10002)} ${FALSE} ${refused}`,
    )
    was = before('new')
    const verifier = WRITE_VERIFIER.toString('hex')
    await golden(
      'WRITE',
      `${made} ${hyper(0)} 00000005 00000002 00000005 68656c6c 6f000000`,
      async () => `${OK} ${await wcc('new', was)} 00000005 00000002 ${verifier}`,
    )
    was = before('new')
    await golden('COMMIT', `${made} ${hyper(0)} 00000000`, async () => `${OK} ${await wcc('new', was)} ${verifier}`)
    was = before('')
    await golden('MKDIR', `${root2} ${text('newdir')} ${TRUE} 000001ed ${'00000000'.repeat(5)}`, async () =>
      [OK, TRUE, await handle('newdir'), await attributes('newdir'), await wcc('', was)].join(''),
    )
    was = before('')
    await golden('SYMLINK', `${root2} ${text('newlink')} ${NO_ATTRIBUTES} ${text('to')}`, async () =>
      [OK, TRUE, await handle('newlink'), await attributes('newlink'), await wcc('', was)].join(''),
    )
    was = before('')
    await golden(
      'MKNOD',
      `${root2} ${text('device')} 00000004 ${TRUE} 000001b6 ${'00000000'.repeat(5)} 00000001 00000003`,
      async () => [OK, TRUE, await handle('device'), await attributes('device'), await wcc('', was)].join(''),
    )
    was = before('')
    await golden('LINK', `${made} ${root2} ${text('hard')}`, async () =>
      [OK, await attributes('new'), await wcc('', was)].join(''),
    )
    was = before('')
    const newDir = await handle('newdir')
    const wasDir = before('newdir')
    await golden('RENAME', `${root2} ${text('hard')} ${newDir} ${text('moved')}`, async () =>
      [OK, await wcc('', was), await wcc('newdir', wasDir)].join(''),
    )
    was = before('newdir')
    await golden('REMOVE', `${newDir} ${text('moved')}`, async () => OK + (await wcc('newdir', was)))
    was = before('')
    await golden('RMDIR', `${root2} ${text('newdir')}`, async () => OK + (await wcc('', was)))
    was = before('')
    const same = await attributes('')
    await golden('REMOVE', `${root2} ${text('none')}`, async () => `${word(2)} ${FALSE} ${same}`)
    t.match((await client.fsstat(root)).numbers, { invarsec: 0 })
    tried.add('FSSTAT')
    t.same([...tried].sort(), [...PROCEDURES].sort(), 'all of them')
  })
})
