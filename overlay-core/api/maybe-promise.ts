import type { MaybePromise } from './types.ts'

/**
 * Calls `next` with `value`: immediately if it is a plain value, so that work that need not wait is done in this turn of the event loop,
 * otherwise when its promise resolves.
 */
export function after<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}

/** Resolves when both have; undefined if there is nothing to wait for. */
export function both(one: Promise<void> | undefined, other: Promise<void> | undefined): Promise<void> | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Promise.all([one, other]).then(() => undefined)
}

/** Runs `work` and then `end`, whatever the outcome: like try and finally, but synchronous if `work` need not wait. */
export function ending<T>(work: () => MaybePromise<T>, end: () => void): MaybePromise<T> {
  let result: MaybePromise<T>
  try {
    result = work()
  } catch (error) {
    end()
    throw error
  }
  if (result instanceof Promise) return endingLater(result, end)
  end()
  return result
}

/** Unlike `finally`, it makes one promise instead of three. */
function endingLater<T>(result: Promise<T>, end: () => void): Promise<T> {
  return result.then(
    (value) => {
      end()
      return value
    },
    (error) => {
      end()
      throw error
    },
  )
}
