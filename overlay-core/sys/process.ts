import { bind, lastErrno } from './call.ts'
import { shareDescriptors } from './descriptor-shares.ts'
import { sysError } from './error.ts'

const RLIMIT_NOFILE = 7
const SIZE_OF_RLIMIT = 16
const F_DUPFD_CLOEXEC = 1030

const getrlimit = bind<[resource: number, out: Uint8Array]>('int getrlimit(int, void *)')
const fcntl = bind<[fd: number, command: number, least: number]>('int fcntl(int, int, int)')
const setrlimit = bind<[resource: number, limit: Uint8Array]>('int setrlimit(int, const void *)')

/** The user id by which the kernel decides what this process may do. */
export function effectiveUid(): number {
  return process.geteuid?.() ?? 0
}

/** The group id of new files of the process. */
export function effectiveGid(): number {
  return process.getegid?.() ?? 0
}

/** The supplementary groups of the process. */
export function effectiveGroups(): number[] {
  return process.getgroups?.() ?? []
}

/** Raises the limit of open descriptors of this process to the hard limit and returns the new limit. */
export function raiseFileLimit(): number {
  // The soft limit first, then the hard one, 64 bits each; all bits set means no limit.
  const limit = new BigUint64Array(new ArrayBuffer(SIZE_OF_RLIMIT))
  const memory = new Uint8Array(limit.buffer)
  if (getrlimit(RLIMIT_NOFILE, memory) !== 0) throw sysError('getrlimit', lastErrno())
  if (limit[0] !== limit[1]) {
    limit[0] = limit[1]
    if (setrlimit(RLIMIT_NOFILE, memory) !== 0) throw sysError('setrlimit', lastErrno())
  }
  return Number(limit[0])
}

/** Clears the umask of the process, so that modes are stored as requested. Called once, at the first mount. */
export function setUmask0(): void {
  process.umask(0)
}

/** Another descriptor of the same open file or socket. The caller closes it. @throws OverlayError no descriptor is left */
export function duplicateDescriptor(fd: number): number {
  const copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)
  if (copy < 0) throw sysError('fcntl', lastErrno())
  return copy
}

/** The maximum number of connections that leaves enough descriptors for files. */
export function connectionsAllowed(): number {
  return shareDescriptors(raiseFileLimit()).connections
}
