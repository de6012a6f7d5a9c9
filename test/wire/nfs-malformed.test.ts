import t from 'tap'
import type { NfsServer } from '../../protocols/nfs/index.ts'
import { type Handle, MOUNT, NFS, type NfsClient, PROCEDURES, type Procedure, STATUS } from '../helpers/nfs-client.ts'
import { sattr } from '../helpers/nfs-types.ts'
import { onDisk } from '../helpers/overlay.ts'
import { authSys, callMessage, parseReply, RpcRefusal, record, XdrWriter } from '../helpers/rpc-client.ts'
import { withNfs } from '../protocols/nfs/nfs-fixture.ts'

const TREE = { file: 'content', 'dir/x': '', link: '-> file' }

/** Good arguments of every procedure that take nothing away. */
function goodArgs(root: Handle, file: Handle): Record<Procedure, Buffer> {
  const args = () => new XdrWriter()
  const at = (name: string) => args().opaque(root).string(name)
  return {
    NULL: Buffer.alloc(0),
    GETATTR: args().opaque(file).bytes(),
    SETATTR: sattr(args().opaque(file), {
      mode: 0o644,
      uid: 0,
      gid: 0,
      size: 7,
      atime: 'now',
      mtime: { sec: 1, nsec: 1 },
    })
      .u32(1)
      .u32(1)
      .u32(1)
      .bytes(),
    LOOKUP: at('file').bytes(),
    ACCESS: args().opaque(file).u32(0x3f).bytes(),
    READLINK: args().opaque(file).bytes(),
    READ: args().opaque(file).u64(0).u32(100).bytes(),
    WRITE: args().opaque(file).u64(0).u32(4).u32(2).opaque(Buffer.from('data')).bytes(),
    CREATE: sattr(at('new').u32(1), { mode: 0o644 }).bytes(),
    MKDIR: sattr(at('newdir'), {}).bytes(),
    SYMLINK: sattr(at('newlink'), {}).string('target').bytes(),
    MKNOD: sattr(at('newnode').u32(4), {}).u32(1).u32(3).bytes(),
    REMOVE: at('absent').bytes(),
    RMDIR: at('absent').bytes(),
    RENAME: at('absent').opaque(root).string('other').bytes(),
    LINK: args().opaque(file).opaque(root).string('hard').bytes(),
    READDIR: args().opaque(root).u64(0).u64(0).u32(4096).bytes(),
    READDIRPLUS: args().opaque(root).u64(0).u64(0).u32(4096).u32(4096).bytes(),
    FSSTAT: args().opaque(root).bytes(),
    FSINFO: args().opaque(root).bytes(),
    PATHCONF: args().opaque(root).bytes(),
    COMMIT: args().opaque(file).u64(0).u32(0).bytes(),
  }
}

/** The status of an answer, or the word of the refusal. */
async function outcome(client: NfsClient, procedure: Procedure, args: Buffer): Promise<string | number> {
  try {
    return (await client.raw(procedure, args)).status
  } catch (error) {
    if (error instanceof RpcRefusal) return error.message
    throw error
  }
}

t.test('arguments cut at any byte are garbage to every procedure, and change nothing', async (t) => {
  await withNfs(t, [TREE], async ({ client, root, upper, server }) => {
    const file = await client.walk(root, 'file')
    let cuts = 0
    for (const [procedure, args] of Object.entries(goodArgs(root, file)) as [Procedure, Buffer][]) {
      for (let end = 0; end < args.length; end++) {
        const result = await outcome(client, procedure, args.subarray(0, end))
        if (result !== 'GARBAGE_ARGS') t.fail(`${procedure} of ${end} bytes: ${result}`)
        cuts++
      }
    }
    t.equal(server.counters.garbageArgs, cuts)
    t.same(onDisk(upper), [], 'nothing was made')
  })
})

t.test('arguments whole are no garbage, nor with bytes behind them', async (t) => {
  await withNfs(t, [TREE], async ({ client, root }) => {
    const file = await client.walk(root, 'file')
    for (const [procedure, args] of Object.entries(goodArgs(root, file)) as [Procedure, Buffer][]) {
      if (procedure === 'NULL') continue
      t.type(await outcome(client, procedure, args), 'number', procedure)
      t.type(await outcome(client, procedure, Buffer.concat([args, Buffer.alloc(8, 1)])), 'number', procedure)
    }
  })
})

t.test('every word of the arguments may be anything: the answer is a status or garbage, never a fault', async (t) => {
  await withNfs(t, [TREE], async ({ client, root, complaints }) => {
    const file = await client.walk(root, 'file')
    const words = [0, 1, 2, 7, 8, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff]
    for (const [procedure, args] of Object.entries(goodArgs(root, file)) as [Procedure, Buffer][]) {
      for (let at = 0; at < args.length; at += 4) {
        for (const word of words) {
          const changed = Buffer.from(args)
          changed.writeUInt32BE(word, at)
          const result = await outcome(client, procedure, changed)
          if (result === 'SYSTEM_ERR' || result === STATUS.SERVERFAULT) {
            t.fail(`${procedure} with ${word.toString(16)} at ${at}: ${result}`)
          }
        }
      }
    }
    t.equal(complaints.length, 1, 'one warning for the connection')
    t.match(complaints[0], 'malformed arguments')
  })
})

t.test('enums and booleans outside their values are garbage', async (t) => {
  await withNfs(t, [TREE], async ({ client, root, upper }) => {
    const file = await client.walk(root, 'file')
    const args = () => new XdrWriter()
    const cases: [Procedure, Buffer][] = [
      ['WRITE', args().opaque(file).u64(0).u32(1).u32(3).opaque(Buffer.from('x')).bytes()],
      ['CREATE', sattr(args().opaque(root).string('x').u32(3), {}).bytes()],
      ['SETATTR', args().opaque(file).u32(2).u32(0o644).bytes()],
      ['SETATTR', args().opaque(file).u32(0).u32(0).u32(0).u32(0).u32(3).u32(0).u32(0).bytes()],
      ['SETATTR', sattr(args().opaque(file), {}).u32(2).bytes()],
      ['GETATTR', args().opaque(Buffer.alloc(65)).bytes()],
      ['LOOKUP', args().opaque(root).u32(0xffff_ffff).raw(Buffer.alloc(64)).bytes()],
      ['LOOKUP', args().opaque(root).opaque(Buffer.alloc(65_537)).bytes()],
      ['SYMLINK', sattr(args().opaque(root).string('x'), {}).opaque(Buffer.alloc(65_537)).bytes()],
    ]
    for (const [procedure, bytes] of cases) t.equal(await outcome(client, procedure, bytes), 'GARBAGE_ARGS', procedure)
    t.same(onDisk(upper), [])
  })
})

t.test(
  'headers cut or changed at any byte are refused or close the connection, and the next client is served',
  async (t) => {
    await withNfs(t, [TREE], async ({ root, connect, server }) => {
      const whole = callMessage(1, [NFS, 3, 1], authSys(0, 0, [1, 2]), new XdrWriter().opaque(root).bytes())
      for (let at = 0; at < 80; at++) {
        for (const change of ['cut', 'flip', 'ones'] as const) {
          const message = change === 'cut' ? whole.subarray(0, at) : Buffer.from(whole)
          if (change === 'flip') message[at] ^= 0x80
          if (change === 'ones') message.fill(0xff, at, at + 4)
          const client = await connect()
          client.rpc.socket.write(record(message))
          // The answer to a good call shows that the bad one was dealt with; a closed connection does as well.
          await Promise.race([client.rpc.closed, client.null().catch(() => undefined)])
          await client.close()
        }
      }
      const client = await connect()
      t.equal((await client.getattr(root)).status, STATUS.OK)
      t.ok(server.counters.garbage > 0)
      t.equal(server.counters.systemErrors, 0)
    })
  },
)

t.test('a client that aborts in the middle of anything costs nothing but its connection', async (t) => {
  await withNfs(t, [{ ...TREE, big: 'x'.repeat(900_000) }], async ({ client, root, connect, upper }) => {
    const big = await client.walk(root, 'big')
    for (let round = 0; round < 20; round++) {
      const victim = await connect()
      const lost = [
        victim.read(big, 0, 900_000),
        victim.create(root, `made-${round}`),
        victim.write(big, 0, Buffer.alloc(500_000, round)),
        victim.readdirplus(root),
        victim.setattr(big, { mtime: 'now' }),
      ].map((answer) => answer.catch(() => undefined))
      if (round % 2 === 0) await lost[0]
      victim.rpc.socket.resetAndDestroy()
      await Promise.all(lost)
    }
    t.equal((await client.getattr(big)).attr?.size, 900_000)
    t.ok(onDisk(upper).length <= 21)
  })
})

t.test('MOUNT takes no garbage either', async (t) => {
  await withNfs(t, [TREE], async ({ client, server }) => {
    const path = new XdrWriter().string('/overlay').bytes()
    for (const procedure of [1, 3]) {
      for (let end = 0; end < path.length; end++) {
        await t.rejects(client.rpc.call([MOUNT, 3, procedure], client.auth, path.subarray(0, end)), /GARBAGE_ARGS/)
      }
    }
    await t.rejects(client.rpc.call([MOUNT, 3, 6], client.auth), /PROC_UNAVAIL/)
    t.ok(server.counters.garbageArgs > 0)
  })
})

t.test('random bytes in place of a message never end the server', async (t) => {
  await withNfs(t, [TREE], async ({ root, connect, server }) => {
    const random = generator(20_260_101)
    for (let round = 0; round < 300; round++) {
      const client = await connect()
      const message = Buffer.from(Array.from({ length: 4 + (random() % 200) }, () => random() & 0xff))
      // Half of them look like a call up to its arguments.
      if (round % 2 === 0) callMessage(round, [NFS, 3, random() % PROCEDURES.length], authSys(0, 0)).copy(message)
      client.rpc.socket.write(record(message))
      client.rpc.socket.end()
      await client.rpc.closed
    }
    await served(server, await connect(), root)
    t.equal(server.counters.systemErrors, 0)
  })
})

/** Fails unless the server still answers. */
async function served(server: NfsServer, client: NfsClient, root: Handle): Promise<void> {
  const message = callMessage(99, [NFS, 3, 1], authSys(0, 0), new XdrWriter().opaque(root).bytes())
  const { results } = parseReply(await client.rpc.exchange(99, record(message)))
  if (results.u32() !== STATUS.OK) throw new Error(`server on port ${server.port} answers no more`)
}

/** Numbers that look random and are the same in every run. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return state >>> 8
  }
}
