import type { Test } from 'tap'
import type { MemoryJournal } from '../../../helpers/memory-journal.ts'
import type { Handle } from '../../../helpers/nfs-client.ts'
import { NLM, NLM_PROCEDURES, NlmClient, type NlmLock, NSM, PORTMAP, readLock } from '../../../helpers/nlm-client.ts'
import { authSys, RpcClient, XdrWriter } from '../../../helpers/rpc-client.ts'
import { type HeardCall, listenForCalls } from '../../../helpers/rpc-listener.ts'
import { type NfsFixture, withNfs } from '../nfs-fixture.ts'

/** What the client's machine has been called with, in words. */
export interface HeardEvent {
  readonly procedure: string
  readonly lock?: NlmLock & { name: string }
  readonly exclusive?: boolean
  readonly cookie?: Buffer
  readonly status?: number
  readonly name?: string
  readonly state?: number
}

/** A server with locks, a file to lock, and the machine of a client that can be called back. */
export interface NlmFixture extends NfsFixture {
  readonly file: Handle
  readonly heard: HeardEvent[]
  /** Resolves with the first call heard, earlier or later, that is of this procedure and was not returned before. */
  hear(procedure: string): Promise<HeardEvent>
  /** What the client's machine answers to GRANTED. */
  grantedStatus: number
  nlm(name?: string, uid?: number): Promise<NlmClient>
}

export async function withNlm(
  t: Test,
  test: (fixture: NlmFixture) => Promise<void>,
  settings: Parameters<typeof withNfs>[3] & { journal?: MemoryJournal; graceMs?: number } = {},
): Promise<void> {
  const heard: HeardEvent[] = []
  const taken = new Set<HeardEvent>()
  let onHeard = (): void => undefined
  const own = { grantedStatus: 0 }
  const machine = await listenForCalls('127.0.0.1', (call) => {
    if (call.program === PORTMAP) return new XdrWriter().u32(machine.port).bytes()
    const event = decode(call)
    heard.push(event)
    onHeard()
    if (event.procedure !== 'GRANTED') return Buffer.alloc(0)
    return new XdrWriter().opaque(event.cookie!).u32(own.grantedStatus).bytes()
  })
  const { journal, graceMs } = settings
  const locks = {
    portmapPort: machine.port,
    hostName: 'server',
    ...(journal && { journal }),
    ...(graceMs && { graceMs }),
  }
  const clients: NlmClient[] = []
  try {
    await withNfs(
      t,
      [{ file: { content: 'x', mode: 0o640 }, other: 'y' }],
      async (fixture) => {
        const file = await fixture.client.walk(fixture.root, 'file')
        const hear = (procedure: string) =>
          new Promise<HeardEvent>((resolve) => {
            onHeard = () => {
              const event = heard.find((event) => event.procedure === procedure && !taken.has(event))
              if (event === undefined) return
              taken.add(event)
              resolve(event)
            }
            onHeard()
          })
        const nlm = async (name?: string, uid = 0) => {
          const client = new NlmClient(await RpcClient.connect(fixture.server.port), name, authSys(uid, uid))
          clients.push(client)
          return client
        }
        const more = { file, heard, hear, nlm }
        await test(
          Object.defineProperty(Object.assign(Object.create(fixture), more), 'grantedStatus', {
            set: (status: number) => {
              own.grantedStatus = status
            },
          }),
        )
      },
      { ...settings, nfs: { ...settings.nfs, locks } },
    )
  } finally {
    for (const client of clients) await client.rpc.close()
    await machine.close()
  }
}

function decode({ program, procedure, args }: HeardCall): HeardEvent {
  if (program === NSM) return { procedure: 'SM_NOTIFY', name: args.string(), state: args.u32() }
  if (program !== NLM) throw new RangeError(`program ${program}`)
  const name = Object.entries(NLM_PROCEDURES).find(([, number]) => number === procedure)?.[0] ?? String(procedure)
  const cookie = Buffer.from(args.opaque())
  if (name === 'GRANTED' || name === 'GRANTED_MSG') {
    const exclusive = args.bool()
    const lock = readLock(args)
    args.end()
    return { procedure: name, cookie, exclusive, lock }
  }
  return { procedure: name, cookie, status: args.u32() }
}
