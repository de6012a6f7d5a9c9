import { OptionError } from '../overlay-core/index.ts'

/** What a service manager such as systemd has told this process in its environment. */
export interface ServiceManager {
  /** Listening sockets that it has opened, by the listener that they are for: descriptors. sd_listen_fds(3) */
  readonly sockets: ReadonlyMap<string, number>
  /** The unix socket that receives states such as READY=1; undefined: nobody wants them. sd_notify(3) */
  readonly notify: string | undefined
  /** How often the service manager must hear of this process, in ms; undefined: it does not watch. sd_watchdog_enabled(3) */
  readonly watchdogMs: number | undefined
}

/** The first descriptor after standard error. */
const FIRST_SOCKET = 3
/** The listeners that take sockets: the values of FileDescriptorName in the unit of the socket. */
export const SOCKET_NAMES = ['webdav', 'nfs'] as const

type Variables = Readonly<Record<string, string | undefined>>

/**
 * Reads what a service manager has told the process `pid`. `parent`: the launcher, if it has started this process in its place.
 *
 * @throws OptionError naming LISTEN_FDNAMES: a socket has the name of no listener, or of one that has one already
 */
export function readServiceManager(variables: Variables, pid: number, parent: number): ServiceManager {
  const isFor = (text: string | undefined) =>
    text === String(pid) || (variables.OVERLAYD_RELAUNCHED !== undefined && text === String(parent))
  const { WATCHDOG_PID, WATCHDOG_USEC, LISTEN_PID, NOTIFY_SOCKET } = variables
  const watchdogMs = Math.floor(Number(WATCHDOG_USEC ?? '') / 1000)
  return {
    sockets: isFor(LISTEN_PID) ? socketsIn(variables) : new Map(),
    notify: /^[/@]./.test(NOTIFY_SOCKET ?? '') ? NOTIFY_SOCKET : undefined,
    watchdogMs: watchdogMs > 0 && (WATCHDOG_PID === undefined || isFor(WATCHDOG_PID)) ? watchdogMs : undefined,
  }
}

function socketsIn({ LISTEN_FDS, LISTEN_FDNAMES }: Variables): ReadonlyMap<string, number> {
  const count = /^\d{1,4}$/.test(LISTEN_FDS ?? '') ? Number(LISTEN_FDS) : 0
  const names = (LISTEN_FDNAMES ?? '').split(':')
  const sockets = new Map<string, number>()
  for (let i = 0; i < count; i++) {
    const name = names[i] ?? ''
    if (!(SOCKET_NAMES as readonly string[]).includes(name))
      throw new OptionError(
        'LISTEN_FDNAMES',
        `${JSON.stringify(name)} is no listener; write FileDescriptorName=webdav or nfs into the unit of the socket`,
      )
    if (sockets.has(name))
      throw new OptionError('LISTEN_FDNAMES', `there are two sockets for ${name}; give its unit one ListenStream only`)
    sockets.set(name, FIRST_SOCKET + i)
  }
  return sockets
}
