import type { MaybePromise } from '../api/types.ts'

/**
 * The entrance of a mounted overlay: counts the calls that run inside, and can be closed until all of them have ended, so that the stack of
 * layers changes between two calls and never during one. What runs inside must not enter again, or a closed barrier would wait for it for ever.
 */
export class RemountBarrier {
  #running = 0
  #closed: PromiseWithResolvers<void> | undefined
  #empty: (() => void) | undefined

  /** False while the stack is being changed. */
  get open(): boolean {
    return this.#closed === undefined
  }

  /** Runs `work` inside, at once when the barrier is open. */
  enter<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    if (this.#closed) return this.#closed.promise.then(() => this.enter(work))
    const result = work()
    return result instanceof Promise ? this.count(result) : result
  }

  /** Counts a call that was begun while the barrier is open. */
  count<T>(call: Promise<T>): Promise<T> {
    this.#running++
    call.then(this.#leave, this.#leave)
    return call
  }

  /** Runs `work` when nobody is inside, and lets nobody in before it has ended. One at a time. */
  async alone<T>(work: () => T): Promise<T> {
    const closed = Promise.withResolvers<void>()
    this.#closed = closed
    try {
      if (this.#running > 0) {
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#empty = resolve
        await promise
      }
      return work()
    } finally {
      this.#closed = undefined
      this.#empty = undefined
      closed.resolve()
    }
  }

  readonly #leave = (): void => {
    this.#running--
    if (this.#running === 0) this.#empty?.()
  }
}
