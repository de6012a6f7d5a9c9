/**
 * Hands out turns at something scarce, so many at a time: each client that waits gets one after the other, whatever the others wait for, and
 * the turns of one client come in the order in which they were asked for. Long work takes a turn for each of its pieces, and short work overtakes it.
 */
export class FairTurns {
  readonly #atOnce: number
  #running = 0
  /** By client; the first one in the map is the next to get a turn. */
  readonly #waiting = new Map<string, (() => void)[]>()

  /** @param atOnce turns that run at a time */
  constructor(atOnce: number) {
    this.#atOnce = atOnce
  }

  /** Runs `work` when `client` has its turn. @returns what it returns */
  async run<T>(client: string, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#atOnce) this.#running++
    else await this.#wait(client)
    try {
      return await work()
    } finally {
      this.#next()
    }
  }

  #wait(client: string): Promise<void> {
    return new Promise((resolve) => {
      const line = this.#waiting.get(client)
      if (line === undefined) this.#waiting.set(client, [resolve])
      else line.push(resolve)
    })
  }

  /** Hands the turn that has ended on. */
  #next(): void {
    const first = this.#waiting.entries().next()
    if (first.done) {
      this.#running--
      return
    }
    const [client, line] = first.value
    const resume = line.shift() as () => void
    // To the end of the line of clients.
    this.#waiting.delete(client)
    if (line.length > 0) this.#waiting.set(client, line)
    resume()
  }
}
