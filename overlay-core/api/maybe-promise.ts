import type { MaybePromise } from './types.ts'

/**
 * Goes on with `next` when `value` is there: at once when it is a plain value, so that what needs not wait is done in this turn of the event loop,
 * else when its promise resolves.
 */
export function after<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}

/** Runs `work` and then, whatever came of it, `end`: as try and finally, but at once when `work` needs not wait. */
export function ending<T>(work: () => MaybePromise<T>, end: () => void): MaybePromise<T> {
  let result: MaybePromise<T>
  try {
    result = work()
  } catch (error) {
    end()
    throw error
  }
  if (result instanceof Promise) return result.finally(end)
  end()
  return result
}
