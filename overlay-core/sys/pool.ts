import type { OverlayError } from '../api/errno.ts'
import { argumentError } from './error.ts'
import { withFaults } from './fault.ts'
import { Limiter, type Waiting } from './limiter.ts'

/** The maximum number of `node:fs` calls in flight; more calls in flight cost nothing extra. */
const NODE_PLACES = 128
const EINTR = 4
const NO_ARGUMENTS: readonly unknown[] = []
/** The limiter of `node:fs` calls. */
export const nodeLimiter = new Limiter(NODE_PLACES)

/** Reports the end of a call: its result, or minus errno as returned by the kernel; or why it was `refused` without being made. */
export type Done = (result: number, refused?: unknown) => void

/** Passes a call to the thread pool. */
export type Begin = (done: Done) => void

class PoolCall implements Waiting {
  next: Waiting | undefined = undefined
  readonly #limiter: Limiter
  readonly #op: string
  readonly #begin: Begin
  readonly #resolve: (result: number) => void
  readonly #reject: (error: OverlayError) => void

  constructor(
    limiter: Limiter,
    op: string,
    begin: Begin,
    resolve: (result: number) => void,
    reject: (error: OverlayError) => void,
  ) {
    this.#limiter = limiter
    this.#op = op
    this.#begin = begin
    this.#resolve = resolve
    this.#reject = reject
  }

  start(): void {
    try {
      this.#begin((result, refused) => this.#end(result, refused))
    } catch (error) {
      // Deferred, because otherwise the next call would start inside the failure of this one, and so on recursively.
      queueMicrotask(() => this.#limiter.leave())
      this.#reject(argumentError(this.#op, error))
    }
  }

  #end(result: number, refused: unknown): void {
    if (result === -EINTR) {
      this.start()
      return
    }
    this.#limiter.leave()
    if (refused) this.#reject(argumentError(this.#op, refused))
    else this.#resolve(result)
  }
}

/**
 * Runs a call through the limiter. Every call, native or by `node:fs`, that may wait for a disk or change one comes through here. It waits for its
 * turn, runs in the thread pool, is repeated on EINTR, and resolves to the result or to minus errno. Fault points
 * (`setFaultPoints`) are applied here.
 *
 * @throws EINVAL the arguments were refused before the kernel saw them
 */
export function throughGate(limiter: Limiter, op: string, args: readonly unknown[], begin: Begin): Promise<number> {
  const guarded = withFaults(op, args, begin)
  return new Promise((resolve, reject) => limiter.enter(new PoolCall(limiter, op, guarded, resolve, reject)))
}

/** Runs a call of `node:fs` through the limiter; resolves to its result or minus errno. `begin` keeps the arguments alive. */
export function nodeCall(op: string, begin: Begin): Promise<number> {
  return throughGate(nodeLimiter, op, NO_ARGUMENTS, begin)
}
