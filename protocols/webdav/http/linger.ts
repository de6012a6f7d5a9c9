import type { IncomingMessage, ServerResponse } from 'node:http'

/** How much of an unread body, in bytes and ms, is read and dropped before the connection is closed. */
const LINGER_BYTES = 4 * 1024 * 1024
const LINGER_MS = 5_000

/**
 * Handles a body that the client still sends after the response: some of it is read and dropped, so that the response reaches the
 * client. If the connection ends with this response, only its writing side is closed until then: closing it fully would make incoming data reset it, and a reset
 * discards a response that was not read yet (RFC 9112 section 9.6). Call it for each request, before anything else.
 */
export function lingerAfter(req: IncomingMessage, res: ServerResponse): void {
  const { headers } = req
  if (headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0') return
  // Runs before Node's own listener, which closes the connection.
  res.prependListener('finish', lingerIfUnread)
}

// One function for all responses, because a new one for each would have to be collected.
function lingerIfUnread(this: ServerResponse): void {
  if (!this.req.complete) linger(this.req)
}

function linger(req: IncomingMessage): void {
  let dropped = 0
  let ending = false
  const { socket } = req
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  // After the response, only the socket reports the end of the connection, not the request.
  const settled = () => {
    clearTimeout(timer)
    socket.off('close', settled)
    Reflect.deleteProperty(socket, 'destroySoon')
    if (ending) socket.destroySoon()
  }
  socket.once('close', settled)
  req.once('end', settled).on('data', (piece: Buffer) => {
    dropped += piece.length
    if (dropped > LINGER_BYTES) socket.destroy()
  })
  // Node calls this after the last response on a connection.
  socket.destroySoon = () => {
    ending = true
    socket.end()
  }
  // Without a first read, Node would drop the whole body itself, however long it is.
  req.read(0)
  req.resume()
}
