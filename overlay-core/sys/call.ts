import koffi, { type KoffiFunc } from 'koffi'
import type { OverlayError } from '../errno.ts'
import { argumentError, sysError } from './error.ts'
import { withFaults } from './fault.ts'
import { Limiter, type Waiting } from './limiter.ts'

/**
 * Native calls in flight. koffi throws beyond 256, but keeps memory ready for 32 only: one more costs five times as much,
 * and as many as that occupy every thread of the pool anyway.
 */
const NATIVE_PLACES = 32
/** Calls of `node:fs` in flight, which cost nothing more in larger numbers. */
const NODE_PLACES = 128
const EINTR = 4
const NO_ARGUMENTS: readonly unknown[] = []

koffi.config({ resident_async_pools: NATIVE_PLACES, async_stack_size: 64 * 1024, async_heap_size: 16 * 1024 })
const libc = koffi.load(null)
const nativeLimiter = new Limiter(NATIVE_PLACES)
const nodeLimiter = new Limiter(NODE_PLACES)

/** A function of libc that gives a number and -1 with errno on failure. */
export type Native<A extends unknown[]> = KoffiFunc<(...args: A) => number>

/** Binds a libc function by its C prototype. Pointers of calls that run in the pool are `void *` and take a Buffer. */
export function bind<A extends unknown[]>(prototype: string): Native<A> {
  return libc.func(prototype) as Native<A>
}

/** The address of memory owned by `buffer`, for prototypes that take it as `uintptr_t`; valid as long as the buffer is referenced. */
export function addressOf(buffer: ArrayBufferView): number {
  return Number(koffi.address(buffer))
}

/** errno of the synchronous call before this one on the main thread. */
export function lastErrno(): number {
  return koffi.errno()
}

/** Reports the end of a call: its result, or minus errno as the kernel itself returns it; or why it was `refused` unmade. */
export type Done = (result: number, refused?: unknown) => void

/** Hands a call over to the thread pool. */
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
      // Not from in here, as the next one would start inside of this one's failure, and so on.
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
 * The gate: every call that may wait for a disk or that changes one goes through here, native or by `node:fs`. It waits for its
 * turn, runs in the thread pool, is repeated on EINTR, and resolves to the result or to minus errno. Here are the fault points
 * (`setFaultPoints`).
 *
 * @throws EINVAL the arguments were refused before the kernel saw them
 */
function throughGate(limiter: Limiter, op: string, args: readonly unknown[], begin: Begin): Promise<number> {
  const guarded = withFaults(op, args, begin)
  return new Promise((resolve, reject) => limiter.enter(new PoolCall(limiter, op, guarded, resolve, reject)))
}

/** Runs a call of `node:fs` through the gate; resolves to its result or minus errno. `begin` keeps the arguments alive. */
export function nodeCall(op: string, begin: Begin): Promise<number> {
  return throughGate(nodeLimiter, op, NO_ARGUMENTS, begin)
}

/** Runs a native call through the gate; resolves to its result or minus errno. `done` keeps the arguments alive until it ends. */
export function tryCall<A extends unknown[]>(op: string, native: Native<A>, ...args: A): Promise<number> {
  return throughGate(nativeLimiter, op, args, (done) => {
    native.async(...args, (error, result) => {
      // koffi sets errno to that of the call while this callback runs; its own error is about the arguments.
      done(result === -1 ? -koffi.errno() : result, error)
    })
  })
}

/** As `tryCall`, but rejects with an OverlayError that names `op` and, when given, the component `name`. */
export async function call<A extends unknown[]>(
  op: string,
  name: string | undefined,
  native: Native<A>,
  ...args: A
): Promise<number> {
  const result = await tryCall(op, native, ...args)
  if (result < 0) throw sysError(op, -result, name)
  return result
}

/** How full the gate is: calls running and calls waiting for a place. */
export function gateLoad(): { inFlight: number; queued: number } {
  return {
    inFlight: nativeLimiter.inFlight + nodeLimiter.inFlight,
    queued: nativeLimiter.queued + nodeLimiter.queued,
  }
}
