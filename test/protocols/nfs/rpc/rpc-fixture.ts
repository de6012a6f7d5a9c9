import type { Test } from 'tap'
import type { RpcCall } from '../../../../protocols/nfs/rpc/call.ts'
import type { RpcProcedure } from '../../../../protocols/nfs/rpc/program.ts'
import { RpcServer, type RpcServerOptions } from '../../../../protocols/nfs/rpc/server.ts'
import { RpcClient } from '../../../helpers/rpc-client.ts'
import { recordingLog } from '../recording-log.ts'

export const PROGRAM = 400_000

/** Procedures of the test program, by number. */
export const ECHO = 0
export const WAIT = 1
export const BIG = 2
export const FAIL = 3
export const REJECT = 4
export const COUNT = 5
export const COUNT_LATER = 6
export const MUTE = 7

/** A server with a program that does what tests need. */
export interface RpcFixture {
  readonly server: RpcServer
  readonly complaints: string[]
  /** The clock of the server, in ms. */
  clock: { nowMs: number }
  /** WAIT and COUNT_LATER calls that have begun and go on when called. */
  readonly waiting: (() => void)[]
  /** Resolves when `count` of them have begun. */
  begun(count: number): Promise<void>
  /** How often COUNT or COUNT_LATER ran. */
  readonly runs: { count: number }
  connect(localPort?: number, localAddress?: string): Promise<RpcClient>
}

export async function withRpc(
  t: Test,
  test: (fixture: RpcFixture) => Promise<void>,
  settings: Partial<RpcServerOptions> = {},
): Promise<void> {
  const { log, complaints } = recordingLog()
  const clock = { nowMs: 0 }
  const waiting: (() => void)[] = []
  const runs = { count: 0 }
  let onBegun = (): void => undefined
  const wait = (): Promise<void> =>
    new Promise((resolve) => {
      waiting.push(resolve)
      onBegun()
    })
  const server = new RpcServer({
    host: '127.0.0.1',
    port: 0,
    programs: [
      { number: PROGRAM, version: 2, procedures: procedures(wait, runs) },
      { number: PROGRAM, version: 4, procedures: [] },
    ],
    log,
    now: () => clock.nowMs,
    callKey: Buffer.alloc(16, 7),
    maxRecordBytes: 64 * 1024,
    maxFragments: 16,
    maxInFlight: 8,
    maxUnsentBytes: 1024 * 1024,
    maxReservedBytes: 4 * 1024 * 1024,
    turnBytes: 256 * 1024,
    maxConnections: 4,
    maxConnectionsPerClient: 100,
    maxInFlightPerClient: 256,
    maxInFlightTotal: 512,
    maxBytesInFlight: 16 * 1024 * 1024,
    turnCalls: 256,
    idleMs: 40,
    stallMs: 20,
    closeMs: 5000,
    ...settings,
  })
  const { port } = await server.listen()
  const clients: RpcClient[] = []
  try {
    await test({
      server,
      complaints,
      clock,
      waiting,
      runs,
      begun: (count) =>
        new Promise((resolve) => {
          onBegun = () => {
            if (waiting.length >= count) resolve()
          }
          onBegun()
        }),
      async connect(localPort, localAddress) {
        const client = await RpcClient.connect(port, localPort, localAddress)
        clients.push(client)
        return client
      },
    })
  } finally {
    for (const go of waiting) go()
    for (const client of clients) await client.close()
    await server.close()
  }
  t.equal(server.counters.systemErrors, complaints.filter((line) => line.includes('failed')).length)
}

function procedures(wait: () => Promise<void>, runs: { count: number }): RpcProcedure[] {
  const procedure = (name: string, run: RpcProcedure['run'], nonIdempotent = false): RpcProcedure => ({
    name,
    nonIdempotent,
    run,
  })
  const count = (call: RpcCall): void => {
    call.args.u32()
    runs.count++
    call.begin(4).u32(runs.count)
  }
  return [
    procedure('ECHO', (call) => {
      const data = call.args.opaque(60_000)
      call.begin(data.length + 8).opaque(data)
    }),
    procedure('WAIT', async (call) => {
      await wait()
      call.begin(4).u32(call.args.u32())
    }),
    procedure('BIG', (call) => {
      const size = call.args.u32()
      const out = call.begin(size + 4)
      out.u32(size)
      out.bytes.fill(call.xid & 0xff, out.reserve(size), out.pos)
    }),
    procedure('FAIL', () => {
      throw new Error('as asked for')
    }),
    procedure('REJECT', async (call) => {
      call.begin(4).u32(0xbad)
      throw new Error('as asked for')
    }),
    procedure('COUNT', count, true),
    procedure(
      'COUNT_LATER',
      async (call) => {
        await wait()
        count(call)
      },
      true,
    ),
    procedure('MUTE', () => undefined),
  ]
}
