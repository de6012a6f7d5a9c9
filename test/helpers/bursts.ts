/** The longest that the event loop was kept by one of its turns, in processor time of this thread: what others do on the machine does not count. */
export class Bursts {
  longestMs = 0
  #running = false
  #lastUs = 0

  start(): void {
    this.longestMs = 0
    this.#lastUs = cpuUs()
    if (this.#running) return
    this.#running = true
    const turn = (): void => {
      const nowUs = cpuUs()
      this.longestMs = Math.max(this.longestMs, (nowUs - this.#lastUs) / 1000)
      this.#lastUs = nowUs
      if (this.#running) setImmediate(turn)
    }
    setImmediate(turn)
  }

  stop(): void {
    this.#running = false
  }
}

function cpuUs(): number {
  const { user, system } = process.threadCpuUsage()
  return user + system
}
