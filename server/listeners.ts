import { createServer, isIPv6 } from 'node:net'
import type { Logger } from 'pino'
import { type Address, formatAddress, type Settings } from '../config/index.ts'
import { listeningAddress, OptionError } from '../overlay-core/index.ts'
import { acceptMore, BACKLOG } from './accept-more.ts'
import type { App } from './app.ts'
import { HTTP_SOCKETS } from './http-limits.ts'

/**
 * Checks that the listeners can be opened at their addresses, before anything is created. The sample does not insist on the default ports:
 * if one is busy, it uses a free one.
 *
 * @throws OptionError a port is in use or not allowed
 */
export async function checkPorts(settings: Settings): Promise<Settings> {
  const sample = settings.views.some((view) => view.mount === undefined)
  const [webdav, nfs] = await Promise.all([
    checkPort('--webdav', settings.webdav, sample),
    checkPort('--nfs', settings.nfs, sample),
  ])
  return { ...settings, webdav, nfs }
}

async function checkPort(option: string, address: Address | undefined, sample: boolean): Promise<Address | undefined> {
  if (address === undefined) return undefined
  if (address.socket !== undefined) return givenSocket(option, address, address.socket)
  try {
    await tryToListen(address)
    return address
  } catch (error) {
    if (sample && !address.given) return { ...address, port: 0 }
    throw listenError(option, address, error)
  }
}

/**
 * The address of a socket that a service manager has opened. It must be the one in the settings, because that decides who needs a login.
 *
 * @throws OptionError it is another one, or no listening socket
 */
function givenSocket(option: string, address: Address, socket: number): Address {
  const actual = listeningAddress(socket)
  const name = option.slice(2)
  if (actual === undefined)
    throw new OptionError(option, `the socket ${name} of the service manager does not listen on TCP; use ListenStream=`)
  const sameHost = isIPv6(address.host) ? groupsOf(address.host) === actual.host : address.host === actual.host
  if (sameHost && (address.port === 0 || address.port === actual.port)) return { ...address, port: actual.port }
  const shown = formatAddress(actual.host === groupsOf('::') ? '::' : actual.host, actual.port)
  throw new OptionError(
    option,
    `is ${formatAddress(address.host, address.port)}, but the socket of the service manager listens on ${shown}; write the same address in both places`,
  )
}

/** An IPv6 address as `listeningAddress` writes it. */
function groupsOf(host: string): string {
  const [head = '', tail] = new URL(`http://[${host}]`).hostname.slice(1, -1).split('::')
  const [before, after] = [head, tail ?? ''].map((part) => part.split(':').filter((group) => group !== ''))
  const zeros = tail === undefined ? 0 : 8 - (before?.length ?? 0) - (after?.length ?? 0)
  return [...(before ?? []), ...Array<string>(zeros).fill('0'), ...(after ?? [])].join(':')
}

/** Whether nobody listens there. */
export async function isFree(host: string, port: number): Promise<boolean> {
  try {
    await tryToListen({ host, port, given: false })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    return false
  }
}

async function tryToListen({ host, port }: Address): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const server = createServer()
  server.once('error', reject)
  server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()))
  await promise
}

/** Converts an error of starting NFS to an OptionError if an option caused it. */
export function nfsError(address: Address, error: unknown): unknown {
  if (error instanceof Error && error.message.startsWith('rpcbind ')) {
    return new OptionError('--rpcbind', `${error.message}; start rpcbind, or remove the option`)
  }
  if (error instanceof Error && error.message.startsWith('portmap: ')) return portmapError(error.cause)
  return listenError('--nfs', address, error)
}

function portmapError(cause: unknown): unknown {
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') {
    return new OptionError('--portmap', 'port 111 is in use; use --rpcbind instead if rpcbind runs on this machine')
  }
  if (code === 'EACCES') return new OptionError('--portmap', 'port 111 needs root; run as root, or remove the option')
  return cause
}

/** Converts an error of listening to an OptionError if an option caused it. */
export function listenError(option: string, { host, port }: Address, error: unknown): unknown {
  const at = formatAddress(host, port)
  const free = formatAddress(host, 0)
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return new OptionError(option, `${at} is in use; choose another port, or use ${free} to pick a free one`)
    case 'EACCES':
      return new OptionError(option, `${at} needs root; choose port 1024 or higher, or use ${free} to pick a free one`)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new OptionError(option, `${host} is not an address of this machine; use 127.0.0.1 or 0.0.0.0`)
    default:
      return error
  }
}

/** Listens and returns the port. @throws OptionError as in `checkPorts`, naming `option` */
export async function listenHttp(http: App, address: Address, log: Logger, option = '--webdav'): Promise<number> {
  const { app } = http
  const { host, port, socket: fd } = address
  try {
    await app.listen({
      host,
      port,
      ...(fd !== undefined && { fd }),
      backlog: BACKLOG,
      listenTextResolver: () => `${option} is listening`,
    })
  } catch (error) {
    throw listenError(option, address, error)
  }
  http.stopAccepting = acceptMore(app.server, HTTP_SOCKETS, http.connections, log)
  const bound = app.server.address()
  return bound !== null && typeof bound === 'object' ? bound.port : address.port
}
