import type { MaybePromise } from '../../../overlay-core/index.ts'

/** Continues with `value` at once if it is not a promise, so that a request that need not wait is answered in the turn of the event loop in which it arrives. */
export function after<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}
