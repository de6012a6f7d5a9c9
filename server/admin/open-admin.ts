import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { isUnwritable } from '../../overlay-core/index.ts'
import { isFromForeignPage } from '../foreign-pages.ts'
import { makeDirectory } from '../make-directory.ts'
import { type ProbeRoutes, probeRoutes } from '../metrics/probe-routes.ts'
import type { RunningServer } from '../running-server.ts'
import { adminSocketPath } from '../state-dir.ts'
import { socketPath } from './api/socket-path.ts'
import type { AdminFailure, Requester } from './api/verb.ts'
import type { AdminCounters, AdminListener } from './http/admin-app.ts'

/** The open admin listener. */
export interface Admin {
  /** The path of its socket. Only root and the user of the server can connect. */
  readonly socket: string
  readonly counters: AdminCounters
  close(): Promise<void>
}

const REQUEST_TIMEOUT_MS = 30_000

/**
 * Opens the admin listener: HTTP on a Unix socket in the directory of run files, mode 0600 in a directory of mode 0700. Undefined if the disk is full or
 * read-only.
 */
export async function openAdmin(server: RunningServer, stateDir: string, log: Logger): Promise<Admin | undefined> {
  const counters: AdminCounters = { requests: 0, refused: 0, failed: 0 }
  const probes = probeRoutes(server, log)
  const answer = loadedOnDemand(server, counters, log, probes)
  const http = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) =>
    answer(request, response, { user: undefined, address: undefined }),
  )
  const socket = adminSocketPath(stateDir, process.pid)
  try {
    await makeDirectory(dirname(socket))
    const closePath = await listenAt(http, socket)
    const close = async () => {
      await closeServer(http)
      await closePath()
    }
    return { socket, counters, close }
  } catch (error) {
    if (isUnwritable(error)) return undefined
    throw error
  }
}

/** Most servers never get a request of an administrator, so what answers it is loaded with the first one. */
function loadedOnDemand(
  server: RunningServer,
  counters: AdminCounters,
  log: Logger,
  probes: ProbeRoutes,
): AdminListener {
  let listener: Promise<AdminListener> | undefined
  const load = async () => (await import('./http/admin-app.ts')).adminApp({ server, log, counters })
  return (request, response, by: Requester) => {
    if (isFromForeignPage(request, undefined)) {
      counters.refused++
      refuse(response, 403, FOREIGN_PAGE)
      return
    }
    if (probes(request, response)) return
    listener ??= load()
    listener.then(
      (answer) => answer(request, response, by),
      (error) => {
        log.error({ err: error }, 'cannot load the admin listener')
        response.destroy()
      },
    )
  }
}

const FOREIGN_PAGE = 'a page of another origin may only link to this server; open its own page instead'

function refuse(response: ServerResponse, status: number, message: string): void {
  const text = JSON.stringify({ message } satisfies AdminFailure)
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(text)
}

/** Listens at a socket. One that another process of the same id has left is replaced. Returns what to do when the server is closed. */
async function listenAt(http: Server, socket: string): Promise<() => Promise<void>> {
  await rm(socket, { force: true })
  const short = await socketPath(socket)
  try {
    http.listen({ path: short.path })
    await once(http, 'listening')
    await chmod(socket, 0o600)
    return short.close
  } catch (error) {
    http.close()
    await short.close()
    throw error
  }
}

async function closeServer(http: Server): Promise<void> {
  const closed = once(http, 'close')
  http.close()
  http.closeAllConnections()
  await closed
}
