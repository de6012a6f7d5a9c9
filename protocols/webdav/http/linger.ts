import type { IncomingMessage, ServerResponse } from 'node:http'

/** How much of a body that nobody reads is taken and dropped before the connection is closed, bytes and ms. */
const LINGER_BYTES = 4 * 1024 * 1024
const LINGER_MS = 5_000

/**
 * Decides what becomes of a body that the request still sends when its answer is out: some of it is read and dropped, so that the answer reaches the
 * client. A connection that ends with this answer is closed for writing only until then: closed at once it would be reset by what comes in, and a reset
 * takes an answer that was not read yet with it (RFC 9112 section 9.6). For each request, before anybody else hears of it.
 */
export function lingerAfter(req: IncomingMessage, res: ServerResponse): void {
  const { headers } = req
  if (headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0') return
  // Before Node's own listener, which closes the connection.
  res.prependOnceListener('finish', () => {
    if (!req.complete) linger(req)
  })
}

function linger(req: IncomingMessage): void {
  let dropped = 0
  let ending = false
  const { socket } = req
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  // Once answered, a request does not learn of the end of its connection any more: only the socket does.
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
  // Node calls this behind the last answer of a connection.
  socket.destroySoon = () => {
    ending = true
    socket.end()
  }
  // Without a first read Node would drop the body out of our sight, however long it is.
  req.read(0)
  req.resume()
}
