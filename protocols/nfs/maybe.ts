import type { Maybe } from '../../overlay-core/index.ts'

/**
 * Goes on with `next` when `value` is there: at once when it is a plain value, so that the fast path stays in this tick,
 * else when its promise resolves.
 */
export function after<T, U>(value: Maybe<T>, next: (value: T) => Maybe<U>): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}
