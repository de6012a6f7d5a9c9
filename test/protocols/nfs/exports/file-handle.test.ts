import t from 'tap'
import { HandleCodec, WireHandle } from '../../../../protocols/nfs/exports/file-handle.ts'
import { parseExport, startNfs } from '../../../../protocols/nfs/index.ts'
import { Decoder } from '../../../../protocols/nfs/xdr/decoder.ts'
import { type Handle, NfsClient, STATUS } from '../../../helpers/nfs-client.ts'
import { XdrWriter } from '../../../helpers/rpc-client.ts'
import { HANDLE_KEY, WRITE_VERIFIER, withNfs } from '../nfs-fixture.ts'
import { recordingLog } from '../recording-log.ts'

const INODE = { key: 0x1_2345_6789, generation: 0xdead_beef, type: 0o100000 } as const

function parse(handle: Uint8Array): WireHandle {
  const wire = new WireHandle()
  wire.read(new Decoder(new XdrWriter().opaque(handle).bytes()))
  return wire
}

t.test('a handle is version, view, key, generation and 128 bits of HMAC-SHA256', async (t) => {
  const { createHmac } = await import('node:crypto')
  const handle = Buffer.from(new HandleCodec(HANDLE_KEY).encode({ viewHi: 0, view: 0xcafe }, { ...INODE }))
  const identity = '00000001' + '0000cafe' + '0000000123456789' + 'deadbeef'
  const mac = createHmac('sha256', HANDLE_KEY).update(Buffer.from(identity, 'hex')).digest('hex').slice(0, 32)
  t.equal(handle.toString('hex'), identity + mac)
})

t.test('a handle of a view of a template has 64 bits for the view', async (t) => {
  const { createHmac } = await import('node:crypto')
  const codec = new HandleCodec(HANDLE_KEY)
  const view = { viewHi: 0xabcd_0001, view: 0xcafe }
  const handle = Buffer.from(codec.encode(view, { ...INODE }))
  const identity = '00000002' + 'abcd00010000cafe' + '0000000123456789' + 'deadbeef'
  const mac = createHmac('sha256', HANDLE_KEY).update(Buffer.from(identity, 'hex')).digest('hex').slice(0, 32)
  t.equal(handle.toString('hex'), identity + mac)
  const wire = parse(handle)
  t.match(wire, { wellFormed: true, ...view, key: INODE.key, generation: INODE.generation })
  t.ok(codec.authentic(wire))
  t.notOk(codec.authentic(parse(codec.encode({ viewHi: 0, view: 0xcafe }, { ...INODE }).fill(0, 20))))
  for (let bit = 0; bit < handle.length * 8; bit++) {
    const forged = Uint8Array.from(handle)
    forged[bit >> 3] ^= 1 << (bit & 7)
    const other = parse(forged)
    if (other.wellFormed && codec.authentic(other)) t.fail(`bit ${bit}`)
  }
})

t.test('neither form of handle can be written as the other', async (t) => {
  const { createHmac } = await import('node:crypto')
  const codec = new HandleCodec(HANDLE_KEY)
  const withMac = (identity: string) => {
    const bytes = Buffer.from(identity, 'hex')
    return Buffer.concat([bytes, createHmac('sha256', HANDLE_KEY).update(bytes).digest().subarray(0, 16)])
  }
  const rest = '0000cafe' + '0000000123456789' + 'deadbeef'
  t.ok(codec.authentic(parse(withMac(`00000001${rest}`))))
  t.notOk(parse(withMac(`0000000200000000${rest}`)).wellFormed, 'a high word of 0')
  t.notOk(parse(withMac(`00000002${rest}`)).wellFormed, 'the second version without a high word')
  t.notOk(parse(withMac(`0000000100000001${rest}`)).wellFormed, 'the first version with one')
})

t.test('a handle is the same every time and known again', async (t) => {
  const codec = new HandleCodec(HANDLE_KEY)
  const inode = { ...INODE }
  const handle = codec.encode({ viewHi: 0, view: 7 }, inode)
  t.same(codec.encode({ viewHi: 0, view: 7 }, inode), handle, 'the same bytes')
  const wire = parse(handle)
  t.match(wire, { wellFormed: true, view: 7, key: inode.key, generation: inode.generation })
  t.ok(codec.authentic(wire))
  t.ok(new HandleCodec(HANDLE_KEY).authentic(wire), 'also by a server that has not made it')
})

t.test('a forged handle does not pass for one that was given out', async (t) => {
  const codec = new HandleCodec(HANDLE_KEY)
  const wire = parse(codec.encode({ viewHi: 0, view: 7 }, { ...INODE }))
  for (const one of [codec, new HandleCodec(HANDLE_KEY)]) {
    wire.mac[3] ^= 1
    t.notOk(one.authentic(wire))
    wire.mac[3] ^= 1
    t.ok(one.authentic(wire), 'a good one from before a restart does')
  }
})

t.test('handles that share a place in memory are told apart', async (t) => {
  const codec = new HandleCodec(HANDLE_KEY)
  const handles = Array.from({ length: 100_000 }, (_, key) => codec.encode({ viewHi: 0, view: 7 }, { ...INODE, key }))
  t.ok(handles.every((handle) => codec.authentic(parse(handle))))
  const [first, second] = [parse(handles[0]!), parse(handles[1]!)]
  first.mac.set(second.mac)
  t.notOk(codec.authentic(first))
})

t.test('one changed bit anywhere makes another handle, or none', async (t) => {
  const codec = new HandleCodec(HANDLE_KEY)
  const inode = { ...INODE }
  const handle = codec.encode({ viewHi: 0, view: 7 }, inode)
  for (let bit = 0; bit < handle.length * 8; bit++) {
    const forged = Uint8Array.from(handle)
    forged[bit >> 3] ^= 1 << (bit & 7)
    const wire = parse(forged)
    if (wire.wellFormed && codec.authentic(wire)) t.fail(`bit ${bit}`)
  }
  t.notOk(new HandleCodec(Buffer.alloc(32, 8)).authentic(parse(handle)), 'another key')
})

t.test('what has not the form of a handle is told without a look at the overlay', async (t) => {
  for (const length of [0, 1, 4, 35, 37, 64]) t.notOk(parse(Buffer.alloc(length, 1)).wellFormed, `${length} bytes`)
  const unsafe = new HandleCodec(HANDLE_KEY).encode({ viewHi: 0, view: 7 }, { ...INODE })
  unsafe[8] = 0x7f
  t.notOk(parse(unsafe).wellFormed, 'a key beyond 2^53')
  t.throws(() => parse(Buffer.alloc(65)), { name: 'XdrError' })
})

t.test('forged and foreign handles are BADHANDLE, those of gone objects STALE, at every procedure', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ client, root, overlay, complaints }) => {
    const file = await client.walk(root, 'file')
    const guessed = Buffer.from(file)
    guessed[guessed.length - 1] ^= 1
    const other = Buffer.from(
      new HandleCodec(Buffer.alloc(32, 1)).encode({ viewHi: 0, view: file.readUInt32BE(4) }, overlay.root),
    )
    const otherKey = Buffer.from(file)
    otherKey[15] ^= 1
    const otherView = Buffer.from(file)
    otherView[4] ^= 1
    for (const bad of [
      Buffer.alloc(0),
      Buffer.alloc(36),
      Buffer.alloc(64, 0xff),
      guessed,
      other,
      otherKey,
      otherView,
    ]) {
      for (const [name, status] of await everyProcedure(client, bad, root)) t.equal(status, STATUS.BADHANDLE, name)
    }
    const gone = (await client.create(root, 'gone')).handle!
    await client.remove(root, 'gone')
    for (const [name, status] of await everyProcedure(client, gone, root)) {
      t.ok(
        status === STATUS.STALE || status === STATUS.NOTDIR || status === STATUS.INVAL || status === 0,
        `${name} ${status}`,
      )
    }
    t.same(complaints, [], 'nothing of this is worth a warning')
  })
})

t.test('handles stay valid when the server is started again with the same key, not with another', async (t) => {
  await withNfs(t, [{ 'dir/file': 'x' }], async ({ client, root, overlay }) => {
    const file = await client.walk(root, 'dir/file')
    for (const [key, status] of [
      [HANDLE_KEY, STATUS.OK],
      [Buffer.alloc(32, 9), STATUS.BADHANDLE],
    ] as const) {
      const server = await startNfs({
        host: '127.0.0.1',
        port: 0,
        exports: [{ name: 'overlay', overlay, rules: parseExport('*(rw,insecure)') }],
        handleKey: key,
        writeVerifier: WRITE_VERIFIER,
        log: recordingLog().log,
      })
      const again = await NfsClient.connect(server.port)
      t.equal((await again.getattr(root)).status, status)
      if (status === STATUS.OK) t.equal((await again.getattr(file)).status, status)
      await again.close()
      await server.close()
    }
  })
})

async function everyProcedure(client: NfsClient, bad: Handle, good: Handle): Promise<[string, number][]> {
  const answers = {
    GETATTR: client.getattr(bad),
    SETATTR: client.setattr(bad, { mode: 0o600 }),
    LOOKUP: client.lookup(bad, 'x'),
    ACCESS: client.access(bad, 1),
    READLINK: client.readlink(bad),
    READ: client.read(bad, 0, 10),
    WRITE: client.write(bad, 0, Buffer.from('x')),
    CREATE: client.create(bad, 'x'),
    MKDIR: client.mkdir(bad, 'x'),
    SYMLINK: client.symlink(bad, 'x', 'y'),
    MKNOD: client.mknod(bad, 'x', 7),
    REMOVE: client.remove(bad, 'x'),
    RMDIR: client.rmdir(bad, 'x'),
    'RENAME from': client.rename(bad, 'x', good, 'y'),
    'RENAME to': client.rename(good, 'file', bad, 'y'),
    LINK: client.link(bad, good, 'y'),
    'LINK to': client.link(good, bad, 'y'),
    READDIR: client.readdir(bad),
    READDIRPLUS: client.readdirplus(bad),
    FSSTAT: client.fsstat(bad),
    FSINFO: client.fsinfo(bad),
    PATHCONF: client.pathconf(bad),
    COMMIT: client.commit(bad),
  }
  return await Promise.all(
    Object.entries(answers).map(async ([name, answer]) => [name, (await answer).status] as [string, number]),
  )
}
