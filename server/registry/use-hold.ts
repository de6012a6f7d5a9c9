import { setTimeout as delay } from 'node:timers/promises'

/** How long the last uses of a view may take to end, and how often that is looked at. */
const LONGEST_MS = 5000
const INTERVAL_MS = 10

/** Lets new uses of a view wait. */
export class UseHold {
  /** How many wait. */
  waiting = 0
  readonly #ended = Promise.withResolvers<void>()
  readonly #end: () => void

  /** @param end called before those that wait go on */
  constructor(end: () => void) {
    this.#end = end
  }

  async wait(): Promise<void> {
    this.waiting++
    await this.#ended.promise
    this.waiting--
  }

  /** Resolves when `isAlone` is true, or after some seconds: a use may last as long as a download. */
  async settled(isAlone: () => boolean, now: () => number): Promise<void> {
    const until = now() + LONGEST_MS
    while (!isAlone() && now() < until) await delay(INTERVAL_MS)
  }

  end(): void {
    this.#end()
    this.#ended.resolve()
  }
}
