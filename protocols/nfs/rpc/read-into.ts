import { type OnReadOpts, Socket } from 'node:net'

/** The fields in which Node keeps the options `onread` of a socket, by their descriptions. */
const FIELDS = fieldsOf(new Socket({ onread: { buffer: Buffer.alloc(1), callback: () => true } }))

/**
 * Lets a connected socket, such as one with TLS, read into our own buffers from now on. Nothing that it has received may be left in it.
 *
 * Node offers `onread` for outgoing connections only. The handle of every connection can do it, but no public call returns it. Only this function accesses it.
 *
 * @returns false, without having changed anything, if a newer Node keeps this elsewhere: then read by events
 */
export function readInto(socket: Socket, onread: OnReadOpts & { buffer: () => Uint8Array }): boolean {
  const inner = socket as unknown as Record<symbol, unknown> & {
    _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null
  }
  const handle = inner._handle
  if (FIELDS === undefined || typeof handle?.useUserBuffer !== 'function') return false
  const first = onread.buffer()
  inner[FIELDS.buffer] = first
  inner[FIELDS.next] = onread.buffer
  inner[FIELDS.callback] = onread.callback
  handle.useUserBuffer(first)
  return true
}

function fieldsOf(sample: Socket): { buffer: symbol; next: symbol; callback: symbol } | undefined {
  const named = (name: string) => Object.getOwnPropertySymbols(sample).find(({ description }) => description === name)
  const [buffer, next, callback] = [named('kBuffer'), named('kBufferGen'), named('kBufferCb')]
  sample.destroy()
  return buffer && next && callback ? { buffer, next, callback } : undefined
}
