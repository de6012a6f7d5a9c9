import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'

/** Writes XDR for tests; independent of the server's encoder, so that the two check each other. */
export class XdrWriter {
  readonly #parts: Buffer[] = []

  u32(value: number): this {
    const part = Buffer.alloc(4)
    part.writeUInt32BE(value >>> 0)
    this.#parts.push(part)
    return this
  }

  u64(value: number | bigint): this {
    const part = Buffer.alloc(8)
    part.writeBigUInt64BE(BigInt(value))
    this.#parts.push(part)
    return this
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(Buffer.from(bytes))
    return this
  }

  opaque(bytes: Uint8Array): this {
    return this.u32(bytes.length)
      .raw(bytes)
      .raw(Buffer.alloc(-bytes.length & 3))
  }

  /** One byte per code unit. */
  string(text: string): this {
    return this.opaque(Buffer.from(text, 'latin1'))
  }

  optional<T>(value: T | undefined, write: (value: T) => void): this {
    this.u32(value === undefined ? 0 : 1)
    if (value !== undefined) write(value)
    return this
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** Reads XDR for tests; reading beyond the end throws RangeError. */
export class XdrReader {
  readonly bytes: Buffer
  pos = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  u32(): number {
    this.pos += 4
    return this.bytes.readUInt32BE(this.pos - 4)
  }

  u64(): bigint {
    this.pos += 8
    return this.bytes.readBigUInt64BE(this.pos - 8)
  }

  bool(): boolean {
    const value = this.u32()
    if (value > 1) throw new RangeError(`${value} is not a boolean`)
    return value === 1
  }

  fixed(length: number): Buffer {
    const part = this.bytes.subarray(this.pos, this.pos + length)
    if (part.length < length) throw new RangeError('cut short')
    const padding = this.bytes.subarray(this.pos + length, this.pos + ((length + 3) & ~3))
    if (padding.some((byte) => byte !== 0)) throw new RangeError('padding is not zero')
    this.pos += (length + 3) & ~3
    return part
  }

  opaque(): Buffer {
    return this.fixed(this.u32())
  }

  string(): string {
    return this.opaque().toString('latin1')
  }

  optional<T>(read: () => T): T | undefined {
    return this.bool() ? read() : undefined
  }

  /** The list of an XDR linked list: each item has a boolean in front. */
  list<T>(read: () => T): T[] {
    const items: T[] = []
    while (this.bool()) items.push(read())
    return items
  }

  /** Checks that everything was read. */
  end(): void {
    if (this.pos !== this.bytes.length) throw new RangeError(`${this.bytes.length - this.pos} bytes left over`)
  }
}

/** An answer other than SUCCESS: `kind` and its numbers in the words of RFC 5531. */
export class RpcRefusal extends Error {
  readonly kind: string
  readonly numbers: readonly number[]

  constructor(kind: string, numbers: readonly number[] = []) {
    super([kind, ...numbers].join(' '))
    this.kind = kind
    this.numbers = numbers
  }
}

/** A credential or verifier. */
export interface Auth {
  readonly flavor: number
  readonly body: Buffer
}

/** No credential. */
export const NO_AUTH: Auth = { flavor: 0, body: Buffer.alloc(0) }

/** An AUTH_SYS credential. */
export function authSys(uid: number, gid: number, groups: readonly number[] = [], machine = 'test'): Auth {
  const writer = new XdrWriter().u32(0x5eed).string(machine).u32(uid).u32(gid).u32(groups.length)
  for (const group of groups) writer.u32(group)
  return { flavor: 1, body: writer.bytes() }
}

/** The message of a call, without its record mark. */
export function callMessage(
  xid: number,
  [program, version, procedure]: readonly [number, number, number],
  auth: Auth = NO_AUTH,
  args: Uint8Array = Buffer.alloc(0),
): Buffer {
  return new XdrWriter()
    .u32(xid)
    .u32(0)
    .u32(2)
    .u32(program)
    .u32(version)
    .u32(procedure)
    .u32(auth.flavor)
    .opaque(auth.body)
    .u32(0)
    .u32(0)
    .raw(args)
    .bytes()
}

/** A record of one fragment. */
export function record(message: Uint8Array): Buffer {
  return fragments([message])
}

/** A record of several fragments. */
export function fragments(parts: readonly Uint8Array[]): Buffer {
  const last = parts.length - 1
  return Buffer.concat(
    parts.flatMap((part, i) => [
      new XdrWriter().u32(i === last ? part.length + 0x8000_0000 : part.length).bytes(),
      Buffer.from(part),
    ]),
  )
}

/** Reads the reply `message` up to its results. @throws RpcRefusal */
export function parseReply(message: Buffer): { xid: number; results: XdrReader } {
  const reader = new XdrReader(message)
  const xid = reader.u32()
  if (reader.u32() !== 1) throw new RangeError('not a reply')
  if (reader.u32() === 1) {
    if (reader.u32() === 0) throw new RpcRefusal('RPC_MISMATCH', [reader.u32(), reader.u32()])
    throw new RpcRefusal('AUTH_ERROR', [reader.u32()])
  }
  reader.u32()
  reader.opaque()
  const status = reader.u32()
  const kind = ['SUCCESS', 'PROG_UNAVAIL', 'PROG_MISMATCH', 'PROC_UNAVAIL', 'GARBAGE_ARGS', 'SYSTEM_ERR'][status]
  if (status === 2) throw new RpcRefusal(kind, [reader.u32(), reader.u32()])
  if (status !== 0) throw new RpcRefusal(kind)
  return { xid, results: reader }
}

let connections = 0

function startXid(): number {
  connections++
  return (0x1000_0000 + connections * 0x10_0000) >>> 0
}

/** A raw RPC connection: any bytes out, whole reply messages in, matched by xid. */
export class RpcClient {
  socket: Socket
  /** Resolves when the connection is gone, from whichever side. */
  readonly closed: Promise<void>
  /** Others on every connection, as with real clients: the server knows a call that is asked again by it. */
  nextXid = startXid()
  #received: Buffer = Buffer.alloc(0)
  readonly #waiting = new Map<number, { resolve: (message: Buffer) => void; reject: (error: Error) => void }>()

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (data: Buffer) => this.#onData(data))
    socket.on('error', () => socket.destroy())
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        for (const { reject } of this.#waiting.values()) reject(new Error('connection closed'))
        resolve()
      })
    })
  }

  /** Connects to a server, on the loopback address unless given, from `localPort` and `localAddress` (127.x.y.z: another client) if given. */
  static async connect(
    port: number,
    localPort?: number,
    localAddress?: string,
    host = '127.0.0.1',
  ): Promise<RpcClient> {
    const from = { ...(localPort !== undefined && { localPort }), ...(localAddress !== undefined && { localAddress }) }
    const socket = connect({ host, port, ...from })
    await once(socket, 'connect')
    return new RpcClient(socket)
  }

  /** Asks for TLS by the NULL procedure of a program, and continues encrypted (RFC 9289). @throws RpcRefusal · Error the handshake fails */
  async startTls(options: ConnectionOptions, program: readonly [number, number] = [100003, 3]): Promise<TLSSocket> {
    await this.askForTls(program)
    const plain = this.socket
    plain.removeAllListeners('data')
    const secured = connectTls({ socket: plain, ALPNProtocols: ['sunrpc'], minVersion: 'TLSv1.3', ...options })
    await once(secured, 'secureConnect')
    this.socket = secured
    secured.on('data', (data: Buffer) => this.#onData(data))
    secured.on('error', () => secured.destroy())
    return secured
  }

  /** The AUTH_TLS probe: the answer must say STARTTLS in its verifier. @throws RpcRefusal */
  async askForTls([program, version]: readonly [number, number] = [100003, 3]): Promise<void> {
    const xid = this.nextXid++
    const probe = callMessage(xid, [program, version, 0], { flavor: 7, body: Buffer.alloc(0) })
    const reply = await this.exchange(xid, record(probe))
    parseReply(reply).results.end()
    const verifier = reply.subarray(12).toString('latin1')
    if (!verifier.startsWith('\0\0\0\0\0\0\0\x08STARTTLS')) throw new Error(`a verifier without STARTTLS: ${verifier}`)
  }

  /** Makes a call and returns its results. @throws RpcRefusal */
  async call(what: readonly [number, number, number], auth: Auth = NO_AUTH, args?: Uint8Array): Promise<XdrReader> {
    const xid = this.nextXid++
    return parseReply(await this.exchange(xid, record(callMessage(xid, what, auth, args)))).results
  }

  /** Sends `bytes` and returns the message of the reply with `xid`. Rejects when the connection closes. */
  exchange(xid: number, bytes: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.socket.destroyed) return reject(new Error('connection closed'))
      this.#waiting.set(xid, { resolve, reject })
      this.socket.write(bytes)
    })
  }

  /** Closes the connection. */
  async close(): Promise<void> {
    this.socket.destroy()
    await this.closed
  }

  #onData(data: Buffer): void {
    this.#received = this.#received.length === 0 ? data : Buffer.concat([this.#received, data])
    for (;;) {
      if (this.#received.length < 4) return
      const length = this.#received.readUInt32BE(0) - 0x8000_0000
      if (this.#received.length < 4 + length) return
      const message = this.#received.subarray(4, 4 + length)
      this.#received = this.#received.subarray(4 + length)
      const xid = message.readUInt32BE(0)
      const waiting = this.#waiting.get(xid)
      this.#waiting.delete(xid)
      waiting?.resolve(message)
    }
  }
}
