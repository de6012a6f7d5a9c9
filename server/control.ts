import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import type { LayerWork } from '../config/index.ts'
import type { MachineDescription, MachineOrder } from './boot/machine-requests.ts'
import type { DiffOrder } from './diff/view-differences.ts'
import type { TokenDescription, TokenOrder } from './login/index.ts'
import type { RandomBytes } from './random.ts'
import type { RebaseRequests } from './rebase/rebase-requests.ts'
import type { SnapshotDescription, SnapshotOrder } from './registry/snapshot-requests.ts'
import type { ViewDescription, ViewOrder } from './registry/view-requests.ts'
import type { ReloadReport } from './reload.ts'
import type { ServerStatus } from './status.ts'
import type { RemountRequest } from './views.ts'

/** How to reach the control listener; part of the run file, which only the server's user and root can read. */
export interface ControlAddress {
  readonly port: number
  /** Proves that the sender of a request can read the run file. */
  readonly token: string
}

/** The open control listener. */
export interface Control {
  readonly address: ControlAddress
  readonly counters: ControlCounters
  close(): Promise<void>
}

export interface ControlCounters {
  remounts: number
  /** Requests without a valid token. */
  refused: number
}

/** The response to a wrong option. */
export interface ControlError {
  readonly option: string
  readonly message: string
}

const HOST = '127.0.0.1'
const TOKEN_BYTES = 32
const REQUEST_TIMEOUT_MS = 30_000
/**
 * Opens the control listener for `overlayd remount`: HTTP on loopback. The port and a one-time token are published only in the run file,
 * so other users of this machine, and web pages in its browsers, can connect but are refused.
 */
export async function openControl(parts: {
  readonly log: FastifyBaseLogger
  readonly random: RandomBytes
  readonly remount: (request: RemountRequest) => Promise<void>
  /** Absent where the server has no configuration file. */
  readonly reload?: (() => Promise<ReloadReport>) | undefined
  /** Absent where the server has no templates. */
  readonly views?: ((order: ViewOrder) => Promise<readonly ViewDescription[]>) | undefined
  readonly rebases?: RebaseRequests | undefined
  readonly snapshots?: ((order: SnapshotOrder) => Promise<readonly SnapshotDescription[]>) | undefined
  /** Absent where no machine boots from the server. */
  readonly machines?: ((order: MachineOrder) => Promise<readonly MachineDescription[]>) | undefined
  readonly tokens?: ((order: TokenOrder) => Promise<readonly TokenDescription[]>) | undefined
  readonly status: () => ServerStatus
  readonly differences: (order: DiffOrder) => Promise<AsyncIterable<string>>
  readonly layers: (work: LayerWork) => Promise<AsyncIterable<string>>
}): Promise<Control> {
  const { log, random, remount, reload, views, snapshots, rebases, machines, tokens, status, differences, layers } =
    parts
  const token = Buffer.from(random(TOKEN_BYTES)).toString('base64url')
  const counters: ControlCounters = { remounts: 0, refused: 0 }
  // Most servers never get a control request, so Fastify, which takes 13 MB, is loaded with the first one.
  let listener: Promise<RequestListener> | undefined
  const load = async () =>
    (await import('./control-listener.ts')).controlListener({
      log,
      token,
      counters,
      remount,
      reload,
      views,
      snapshots,
      rebases,
      machines,
      tokens,
      status,
      differences,
      layers,
    })
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    listener ??= load()
    listener.then(
      (answer) => answer(request, response),
      (error) => {
        log.error({ err: error }, 'cannot load the control listener')
        response.destroy()
      },
    )
  })
  server.listen({ host: HOST, port: 0 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  return { address: { port, token }, counters, close }
}
