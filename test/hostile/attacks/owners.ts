import { NLM, NLM_PROCEDURES, NLM_STATUS, NlmClient } from '../../helpers/nlm-client.ts'
import { authSys, callMessage, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { ADDRESSES, exportedClient } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import type { Target } from '../target.ts'

const ROOT = authSys(0, 0)
const CALLS_AT_ONCE = 500
/** The longest name of a caller, and the longest owner. */
const LONGEST = 1024

/** A server with ten files, and their handles. */
async function withFiles(arena: Arena): Promise<{ target: Target; handles: Buffer[] }> {
  const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)) })
  const nfs = await target.nfs()
  const names = await nfs.list(await nfs.walk(await nfs.mount(), 'many'), 'readdirplus')
  await nfs.close()
  return { target, handles: names.flatMap(({ name, handle }) => (name.startsWith('.') || !handle ? [] : [handle])) }
}

/** Sends `count` calls of one procedure from `address`, and waits for the last answer of each batch. */
async function storm(
  target: Target,
  address: string,
  procedure: keyof typeof NLM_PROCEDURES,
  count: number,
  argsOf: (i: number) => Uint8Array,
): Promise<void> {
  const rpc = await target.rpc(address)
  let xid = 1
  for (let at = 0; at < count; at += CALLS_AT_ONCE) {
    const calls = Array.from({ length: Math.min(CALLS_AT_ONCE, count - at) }, (_, i) =>
      record(callMessage(xid++, [NLM, 4, NLM_PROCEDURES[procedure]], ROOT, argsOf(at + i))),
    )
    await rpc.exchange(xid - 1, Buffer.concat(calls))
  }
  await rpc.close()
}

const shares: Attack = {
  name: 'shares-of-made-up-callers',
  by: 'client',
  what: 'one client makes 60,000 share reservations (NLM SHARE) with long names of made-up callers; others want one',
  quick: true,
  async run(arena) {
    const { target, handles } = await withFiles(arena)
    await arena.underLoad(target, () =>
      storm(target, ADDRESSES.attacker, 'SHARE', arena.size(60_000, 3000), (i) =>
        new XdrWriter()
          .opaque(Buffer.alloc(8))
          .string(`made-up-${i % 200}`.padEnd(LONGEST, 'm'))
          .opaque(handles[Math.floor(i / 6000) % handles.length] as Buffer)
          .string(`owner-${i}`.padEnd(LONGEST, 'o'))
          .u32(0)
          .u32(1)
          .u32(0)
          .bytes(),
      ),
    )
    const other = new NlmClient(await target.rpc(ADDRESSES.victim), 'other', ROOT)
    for (const [i, handle] of handles.entries()) {
      const status = await other.share(handle, 'own', 0, 1)
      if (status !== NLM_STATUS.GRANTED || i === 0)
        arena.check('another client still gets one', status === NLM_STATUS.GRANTED, `status ${status}`)
    }
    await other.rpc.close()
  },
}

const owners: Attack = {
  name: 'locks-of-long-owners',
  by: 'client',
  what: 'ten clients take 20,000 locks each, as owners whose names are as long as they may be',
  quick: false,
  async run(arena) {
    const { target, handles } = await withFiles(arena)
    await arena.underLoad(
      target,
      async () => {
        for (let client = 0; client < arena.size(10, 2); client++) {
          const address = exportedClient(client)
          await storm(target, address, 'LOCK', arena.size(20_000, 2000), (i) =>
            new XdrWriter()
              .opaque(Buffer.alloc(8))
              .u32(0)
              .u32(0)
              .string(`machine-${client}`.padEnd(LONGEST, 'm'))
              .opaque(handles[i % handles.length] as Buffer)
              .string(`owner-${i}`.padEnd(LONGEST, 'o'))
              .u32(i)
              .u64(0n)
              .u64(1n)
              .u32(0)
              .u32(1)
              .bytes(),
          )
        }
      },
      { tries: 1 },
    )
    const other = new NlmClient(await target.rpc(ADDRESSES.victim), 'other', ROOT)
    const lock = { handle: handles[0] as Buffer, owner: 'own', svid: 1, offset: 7n, length: 1n }
    const status = await other.lock(lock)
    arena.check('another client still gets a lock', status === NLM_STATUS.GRANTED, `status ${status}`)
    await other.rpc.close()
  },
}

export const OWNERS: readonly Attack[] = [shares, owners]
