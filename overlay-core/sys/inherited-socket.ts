import { bind, lastErrno } from './call.ts'
import { sysError } from './error.ts'

const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10
const SOL_SOCKET = 1
const SO_ACCEPTCONN = 30
const F_SETFD = 2
const SOCK_DGRAM_CLOEXEC = 0x8_0002
/** MSG_DONTWAIT and MSG_NOSIGNAL. */
const AT_ONCE = 0x4040
/** The sizes of struct sockaddr_un and of the largest address that is read. */
const SIZE_OF_SOCKADDR_UN = 110
const SIZE_OF_SOCKADDR_STORAGE = 128

const getsockname = bind<[fd: number, address: Uint8Array, length: Uint8Array]>('int getsockname(int, void *, void *)')
const getsockopt = bind<[fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array]>(
  'int getsockopt(int, int, int, void *, void *)',
)
const fcntl = bind<[fd: number, command: number, flags: number]>('int fcntl(int, int, int)')
const socket = bind<[domain: number, type: number, protocol: number]>('int socket(int, int, int)')
const close = bind<[fd: number]>('int close(int)')
const sendto = bind<
  [fd: number, data: Uint8Array, length: number, flags: number, address: Uint8Array, addressLength: number]
>('int64_t sendto(int, const void *, size_t, int, const void *, uint32_t)')

/** The address of a socket that listens on TCP. */
export interface ListeningAddress {
  /** IPv4 in dots, or IPv6 in eight groups without zeros left out. */
  readonly host: string
  readonly port: number
}

/** Where a descriptor listens on TCP; undefined if it is not such a socket. */
export function listeningAddress(fd: number): ListeningAddress | undefined {
  const flag = new Int32Array(new ArrayBuffer(4))
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, bytesOf(flag), lengthOf(4)) !== 0 || flag[0] === 0) return undefined
  const bytes = new Uint8Array(new ArrayBuffer(SIZE_OF_SOCKADDR_STORAGE))
  if (getsockname(fd, bytes, lengthOf(bytes.length)) !== 0) return undefined
  const view = new DataView(bytes.buffer)
  const family = new Uint16Array(bytes.buffer, 0, 1)[0]
  const port = view.getUint16(2)
  if (family === AF_INET) return { host: bytes.subarray(4, 8).join('.'), port }
  if (family !== AF_INET6) return undefined
  const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i).toString(16))
  return { host: groups.join(':'), port }
}

/** Keeps a descriptor open in the program that this process executes. @throws OverlayError there is no such descriptor */
export function keepOnExecute(fd: number): void {
  if (fcntl(fd, F_SETFD, 0) !== 0) throw sysError('fcntl', lastErrno())
}

/**
 * Sends a datagram to a unix socket without waiting; `@` at the beginning of the path stands for the abstract name space.
 *
 * @throws OverlayError nobody receives it, or not now
 */
export function sendDatagram(path: string, text: string): void {
  const address = new Uint8Array(new ArrayBuffer(SIZE_OF_SOCKADDR_UN))
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX
  const name = Buffer.from(path, 'utf8')
  address.set(name.subarray(0, SIZE_OF_SOCKADDR_UN - 3), 2)
  if (path.startsWith('@')) address[2] = 0
  const data = Uint8Array.from(Buffer.from(text, 'utf8'))
  const fd = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0)
  if (fd < 0) throw sysError('socket', lastErrno())
  const sent = Number(sendto(fd, data, data.length, AT_ONCE, address, 2 + name.length))
  const errno = sent < 0 ? lastErrno() : 0
  close(fd)
  if (errno !== 0) throw sysError('sendto', errno)
}

function lengthOf(bytes: number): Uint8Array {
  return bytesOf(new Uint32Array([bytes]))
}

function bytesOf(words: Int32Array | Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer)
}
