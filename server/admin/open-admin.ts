import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import type { Settings } from '../../config/index.ts'
import { isUnwritable, OptionError } from '../../overlay-core/index.ts'
import { isFromForeignPage } from '../foreign-pages.ts'
import type { HttpLogin } from '../login/index.ts'
import { makeDirectory } from '../make-directory.ts'
import { type ProbeRoutes, probeRoutes } from '../metrics/probe-routes.ts'
import { openWebLogin } from '../open-login.ts'
import { PublicNames } from '../public-names.ts'
import type { RunningServer } from '../running-server.ts'
import { adminSocketPath } from '../state-dir.ts'
import type { AdminFailure, Requester } from './api/verb.ts'
import type { AdminCounters, AdminListener } from './http/admin-app.ts'
import { listenAt, listenInPublic } from './http/unix-listener.ts'

/** The open admin listener. */
export interface Admin {
  /** The path of its socket. Only root and the user of the server can connect. */
  readonly socket: string
  /** Where it listens on TCP; undefined: nowhere. */
  readonly url: string | undefined
  readonly counters: AdminCounters
  close(): Promise<void>
}

const REQUEST_TIMEOUT_MS = 30_000

/**
 * Opens the admin listener: HTTP on a Unix socket in the directory of run files, mode 0600 in a directory of mode 0700, and where `[admin]` says. Undefined if
 * the disk is full or read-only and `[admin]` says nothing.
 *
 * @throws OptionError naming a key of `[admin]`
 */
export async function openAdmin(server: RunningServer, settings: Settings, log: Logger): Promise<Admin | undefined> {
  const { stateDir, admin } = settings
  const counters: AdminCounters = { requests: 0, refused: 0, failed: 0 }
  const probes = probeRoutes(server, log)
  const answer = loadedOnDemand(server, counters, log, probes)
  const local = () =>
    createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) =>
      answer(request, response, { user: undefined, address: undefined }),
    )
  const socket = adminSocketPath(stateDir, process.pid)
  const opened: { readonly http: Server; readonly after?: () => Promise<void> }[] = []
  const close = async () => {
    for (const { http, after } of opened) {
      await closeServer(http)
      await after?.()
    }
  }
  try {
    const own = local()
    await makeDirectory(dirname(socket))
    opened.push({ http: own, after: await listenAt(own, socket) })
  } catch (error) {
    if (!isUnwritable(error)) throw error
    if (admin === undefined) return undefined
  }
  try {
    if (admin?.socket !== undefined) {
      const shared = local()
      opened.push({ http: shared, after: await listenInPublic(shared, admin.socket, admin.group) })
    }
    let url: string | undefined
    if (admin?.listen !== undefined) {
      const login = await loginOf(server, settings)
      const { listenOnTcp } = await import('./http/tcp-listener.ts')
      const tcp = await listenOnTcp(admin.listen, { login, tls: server.tls, answer, counters, log })
      opened.push({ http: tcp.http })
      url = tcp.url
    }
    return { socket, url, counters, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** The login over HTTP; that of WebDAV if it is served. */
async function loginOf(server: RunningServer, settings: Settings): Promise<HttpLogin> {
  server.webLogin ??= await openWebLogin(server, new PublicNames(settings), settings)
  if (server.webLogin !== undefined) return server.webLogin.http
  throw new OptionError('admin.listen', 'needs a login; add [login] to the configuration file')
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

async function closeServer(http: Server): Promise<void> {
  const closed = once(http, 'close')
  http.close()
  http.closeAllConnections()
  await closed
}
