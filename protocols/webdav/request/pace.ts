import type { DavContext } from '../state/context.ts'

/**
 * Watches a body on its way in: a client that sends less than `limits.paceBytes` in `limits.idleMs` is cut off, however steadily it sends, as it
 * holds a connection and a half-built file. Not while the server itself is what it waits for.
 *
 * @param received how many bytes have come so far
 * @returns ends the watch
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
