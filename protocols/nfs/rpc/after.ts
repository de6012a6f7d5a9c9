import type { MaybePromise } from '../../../overlay-core/index.ts'

/**
 * Goes on with `next` when `value` is there: at once when it is a plain value, so that the fast path stays in this tick,
 * else when its promise resolves.
 */
export function after<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}
