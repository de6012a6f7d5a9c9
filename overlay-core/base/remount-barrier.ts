import type { MaybePromise } from '../api/types.ts'

/**
 * The barrier of a mounted overlay. It counts running calls, and can be closed until all of them have ended, so that the stack of
 * layers changes between two calls and never during one. A call inside must not enter again, because a closed barrier would wait for it forever.
 */
export class RemountBarrier {
  /** Whether the barrier is open; false while the stack is being changed. */
  open = true
  #running = 0
  #closed: PromiseWithResolvers<void> | undefined
  #empty: (() => void) | undefined

  /** Runs `work` inside, at once if the barrier is open. */
  enter<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    if (this.#closed) return this.#closed.promise.then(() => this.enter(work))
    const result = work()
    return result instanceof Promise ? this.count(result) : result
  }

  /** Counts a call that was started while the barrier is open. */
  count<T>(call: Promise<T>): Promise<T> {
    this.#running++
    call.then(this.#leave, this.#leave)
    return call
  }

  /** Runs `work` while nobody is inside, and admits nobody until it has ended. One at a time; others wait. */
  async alone<T>(work: () => MaybePromise<T>): Promise<T> {
    while (this.#closed) await this.#closed.promise
    const closed = Promise.withResolvers<void>()
    this.#closed = closed
    this.open = false
    try {
      if (this.#running > 0) {
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#empty = resolve
        await promise
      }
      return await work()
    } finally {
      this.#closed = undefined
      this.open = true
      this.#empty = undefined
      closed.resolve()
    }
  }

  readonly #leave = (): void => {
    this.#running--
    if (this.#running === 0) this.#empty?.()
  }
}
