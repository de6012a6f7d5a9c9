/** Calls `tick` at intervals, which do not keep the process alive, until the result is called. @see Clock.every */
export function every(intervalMs: number, tick: () => void): () => void {
  const timer = setInterval(tick, intervalMs).unref()
  return () => clearInterval(timer)
}
