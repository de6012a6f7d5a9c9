import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { ADDRESSES } from './addresses.ts'

/** An answer as it came. */
export interface HttpAnswer {
  readonly status: number
  /** The whole head, as latin1. */
  readonly head: string
  readonly body: Buffer
  /** Bytes of the body, also of those that were not kept. */
  readonly bytes: number
}

export interface HttpRequest {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  readonly address?: string
  /** Keeps the body; else it is read and counted only. */
  readonly keep?: boolean
}

/** Sends one request over a connection of its own, byte by byte as given, and reads the answer to its end. @throws Error the connection breaks before */
export async function http(port: number, request: HttpRequest): Promise<HttpAnswer> {
  const socket = await httpConnect(port, request.address)
  socket.write(requestBytes(request, { connection: 'close' }))
  return await readAnswer(socket, request.keep ?? true)
}

/** A connection to the server from `address`. */
export async function httpConnect(port: number, address: string = ADDRESSES.attacker): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, localAddress: address })
  socket.on('error', () => socket.destroy())
  await Promise.race([once(socket, 'connect'), closed(socket)])
  if (socket.destroyed) throw new Error('no connection')
  return socket
}

/** The bytes of a request. */
export function requestBytes(
  { method, path, headers = {}, body = '' }: HttpRequest,
  more: Record<string, string> = {},
): Buffer {
  const fields: Record<string, string> = { host: '127.0.0.1', ...more, ...headers }
  const content = Buffer.from(body)
  if (content.length > 0 && fields['content-length'] === undefined) fields['content-length'] = String(content.length)
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'), content])
}

async function readAnswer(socket: Socket, keep: boolean): Promise<HttpAnswer> {
  const parts: Buffer[] = []
  let bytes = 0
  let head: string | undefined
  let start = Buffer.alloc(0)
  socket.on('data', (data: Buffer) => {
    if (head === undefined) {
      start = Buffer.concat([start, data])
      const end = start.indexOf('\r\n\r\n')
      if (end < 0) return
      head = start.toString('latin1', 0, end)
      data = start.subarray(end + 4)
    }
    bytes += data.length
    if (keep) parts.push(data)
  })
  await closed(socket)
  if (head === undefined) throw new Error('the connection was closed without an answer')
  return { status: Number(head.slice(9, 12)), head, body: Buffer.concat(parts), bytes }
}

/** Resolves when the connection is gone. */
export async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
}

/** Makes connections that stay; those that are refused count as none. */
export async function openMany(port: number, count: number, addressOf: (i: number) => string): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let at = 0; at < count; at += 100) {
    const some = Array.from({ length: Math.min(100, count - at) }, (_, i) => httpConnect(port, addressOf(at + i)))
    for (const outcome of await Promise.allSettled(some)) {
      if (outcome.status === 'fulfilled') sockets.push(outcome.value)
    }
  }
  return sockets
}

/** How many of these connections the server still has. */
export function stillOpen(sockets: readonly Socket[]): number {
  return sockets.filter((socket) => !socket.destroyed && !socket.readableEnded).length
}
