/** More clients wait than is allowed. */
export class TooManyWaiting extends Error {}

/** Lets a limited number of tasks run at once. Waiting clients take turns: one with many tasks delays the others by one each. */
export class Turns {
  readonly #mostRunning: number
  readonly #mostWaiting: number
  /** Waiting tasks by client; the clients in the order of their turns. */
  readonly #waiting = new Map<string, (() => void)[]>()
  #running = 0
  #count = 0

  constructor(mostRunning: number, mostWaiting: number) {
    this.#mostRunning = mostRunning
    this.#mostWaiting = mostWaiting
  }

  /** Runs the task when it is the turn of `client`. @throws TooManyWaiting, and what the task throws */
  async run<Result>(client: string, task: () => Promise<Result>): Promise<Result> {
    if (this.#running < this.#mostRunning) this.#running++
    else await this.#turn(client)
    try {
      return await task()
    } finally {
      this.#next()
    }
  }

  #turn(client: string): Promise<void> {
    if (this.#count >= this.#mostWaiting) throw new TooManyWaiting('too many logins are being verified')
    this.#count++
    return new Promise((resolve) => {
      const list = this.#waiting.get(client) ?? []
      list.push(resolve)
      this.#waiting.set(client, list)
    })
  }

  /** Gives the place of a task that has ended to the next. */
  #next(): void {
    const [first] = this.#waiting
    if (first === undefined) {
      this.#running--
      return
    }
    const [client, list] = first
    const next = list.shift() as () => void
    this.#waiting.delete(client)
    if (list.length > 0) this.#waiting.set(client, list)
    this.#count--
    next()
  }
}
