import type { DavContext } from '../state/context.ts'

/**
 * Watches an incoming body: a client that sends less than `limits.paceBytes` in `limits.idleMs` is disconnected, however steadily it sends, because it
 * occupies a connection and a partial file. Time in which the client waits for the server does not count.
 *
 * @param received returns the number of bytes received so far
 * @returns a function that ends the watch
 */
export function watchPace(ctx: DavContext, received: () => number, waitsForUs: () => boolean): () => void {
  const { idleMs, paceBytes } = ctx.services.limits
  let before = 0
  const timer = setInterval(() => {
    const now = received()
    if (now - before < paceBytes && !waitsForUs()) {
      ctx.services.counters.slowUploads++
      ctx.req.socket.destroy()
    }
    before = now
  }, idleMs)
  return () => clearInterval(timer)
}
