/** More callers wait for a turn than may, or nobody can get one any more. */
export class TooManyWaiting extends Error {}

/**
 * Distributes turns of a scarce resource, with a limited number at a time. Waiting clients are served round robin, and
 * the turns of one client come in the order of its requests. Long work takes one turn per piece, so that short work can overtake it.
 */
export class FairTurns {
  readonly #atOnce: number
  readonly #mostWaiting: number
  #running = 0
  #waitingNow = 0
  /** Waiting work by client; the first client in the map gets the next turn. */
  readonly #waiting = new Map<string, (() => void)[]>()

  /** @param atOnce turns that run at a time @param mostWaiting how many may wait, of all clients */
  constructor(atOnce: number, mostWaiting = Number.POSITIVE_INFINITY) {
    this.#atOnce = atOnce
    this.#mostWaiting = mostWaiting
  }

  /** Runs `work` when `client` has its turn. @returns what it returns @throws TooManyWaiting, and what `work` throws */
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
    if (this.#waitingNow >= this.#mostWaiting) throw new TooManyWaiting('too many callers wait')
    this.#waitingNow++
    return new Promise((resolve) => {
      const line = this.#waiting.get(client)
      if (line === undefined) this.#waiting.set(client, [resolve])
      else line.push(resolve)
    })
  }

  /** Gives a turn that has ended to the next client. */
  #next(): void {
    const first = this.#waiting.entries().next()
    if (first.done) {
      this.#running--
      return
    }
    const [client, line] = first.value
    const resume = line.shift() as () => void
    // Move the client to the end of the queue.
    this.#waiting.delete(client)
    if (line.length > 0) this.#waiting.set(client, line)
    this.#waitingNow--
    resume()
  }
}
