import type { MaybePromise } from '../../../overlay-core/index.ts'

/**
 * Continues with `next` once `value` is available: at once if it is a plain value, so that the fast path stays in this tick,
 * otherwise when its promise resolves.
 */
export function after<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}
