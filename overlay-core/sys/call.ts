import koffi, { type KoffiFunc } from 'koffi'
import type { OverlayError } from '../api/errno.ts'
import { CallThreads, type ThreadStep } from './call-threads.ts'
import { argumentError, sysError } from './error.ts'
import { faultsAreSet, withFaults } from './fault.ts'
import { Limiter, type Waiting } from './limiter.ts'
import { goesOn, MOST_STEPS } from './thread-layout.ts'

/**
 * Native calls in flight. koffi throws beyond 256, but keeps memory ready for 32 only: one more costs five times as much,
 * and as many as that occupy every thread of the pool anyway.
 */
const NATIVE_PLACES = 32
/** Calls of `node:fs` in flight, which cost nothing more in larger numbers. */
const NODE_PLACES = 128
/** Native calls after which threads of our own are started: a program that makes only a few does without them. */
const CALLS_BEFORE_THREADS = 256
const EINTR = 4
const EINVAL = 22
/** Number of a function that may take long, and is left to libuv's pool, which has more threads. */
const SLOW = -1
const NO_ARGUMENTS: readonly unknown[] = []

koffi.config({ resident_async_pools: NATIVE_PLACES, async_stack_size: 64 * 1024, async_heap_size: 16 * 1024 })
const libc = koffi.load(null)
const nativeLimiter = new Limiter(NATIVE_PLACES)
const nodeLimiter = new Limiter(NODE_PLACES)
const prototypes: string[] = []
let threads: CallThreads<readonly SystemCall[]> | undefined
let callsMade = 0

/** A function of libc that gives a number and -1 with errno on failure. */
export type Native<A extends unknown[]> = KoffiFunc<(...args: A) => number> & { readonly number: number }

/** Binds a libc function by its C prototype. Pointers of calls that run in the pool are `void *` and take a Buffer. */
export function bind<A extends unknown[]>(prototype: string): Native<A> {
  const number = prototypes.push(prototype) - 1
  return Object.assign(libc.func(prototype), { number }) as Native<A>
}

/** As `bind`, for a function that may take long with any disk. */
export function bindSlow<A extends unknown[]>(prototype: string): Native<A> {
  return Object.assign(libc.func(prototype), { number: SLOW }) as Native<A>
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
 * The limiter: every call that may wait for a disk or that changes one goes through here, native or by `node:fs`. It waits for its
 * turn, runs in the thread pool, is repeated on EINTR, and resolves to the result or to minus errno. Here are the fault points
 * (`setFaultPoints`).
 *
 * @throws EINVAL the arguments were refused before the kernel saw them
 */
function throughGate(limiter: Limiter, op: string, args: readonly unknown[], begin: Begin): Promise<number> {
  const guarded = withFaults(op, args, begin)
  return new Promise((resolve, reject) => limiter.enter(new PoolCall(limiter, op, guarded, resolve, reject)))
}

/** Runs a call of `node:fs` through the limiter; resolves to its result or minus errno. `begin` keeps the arguments alive. */
export function nodeCall(op: string, begin: Begin): Promise<number> {
  return throughGate(nodeLimiter, op, NO_ARGUMENTS, begin)
}

/** Makes a native call, by a thread of our own or through the limiter; resolves to its result or minus errno. The arguments are kept alive until it ends. */
export function tryCall<A extends unknown[]>(op: string, native: Native<A>, ...args: A): Promise<number> {
  if (threadsFor(native.number)) {
    const numbers = toNumbers(args)
    if (numbers) {
      const kept = [{ op, native: native as Native<never>, args, flags: 0 }]
      return onThread([{ number: native.number, flags: 0, args: numbers }], kept).then(firstOf)
    }
  }
  return callInPool(op, native, args)
}

function callInPool<A extends unknown[]>(op: string, native: Native<A>, args: A): Promise<number> {
  return throughGate(nativeLimiter, op, args, (done) => {
    native.async(...args, (error, result) => {
      // koffi sets errno to that of the call while this callback runs; its own error is about the arguments.
      done(result === -1 ? -koffi.errno() : result, error)
    })
  })
}

/** Stands for the result of an earlier step among the arguments of a later one. */
export class ResultOf {
  readonly step: number

  constructor(step: number) {
    this.step = step
  }
}

/** A call that is made together with others (`tryCalls`). */
export interface SystemCall {
  readonly op: string
  readonly native: Native<never>
  readonly args: readonly unknown[]
  /** When the next one is made: `GOES_ON_AFTER_FAILURE`, `WANTS_NOTHING` or 0, after success. */
  readonly flags: number
}

/** A step of `tryCalls`: as `tryCall`, but numbers may be results of earlier steps. */
export function step<A extends unknown[]>(
  op: string,
  native: Native<A>,
  ...args: { [K in keyof A]: A[K] extends number ? number | ResultOf : A[K] }
): SystemCall {
  return { op, native: native as Native<never>, args, flags: 0 }
}

/**
 * Makes several calls one after the other, up to the first that fails (or as its flags say), without coming back in between; resolves to the result of each one
 * made, the last one's minus errno if it failed. Only for calls none of which needs a look at what the ones before have found.
 */
export async function tryCalls(steps: readonly SystemCall[]): Promise<readonly number[]> {
  if (steps.length <= MOST_STEPS && steps.every(({ native }) => threadsFor(native.number))) {
    const program = toProgram(steps)
    if (program) return await onThread(program, steps)
  }
  return await callsInPool(steps)
}

/** @param before results of the first steps, which are made already */
async function callsInPool(steps: readonly SystemCall[], before: readonly number[] = []): Promise<readonly number[]> {
  const results = [...before]
  const last = steps[before.length - 1]
  if (last && !goesOn(last.flags, before.at(-1) as number)) return results
  for (const { op, native, args, flags } of steps.slice(before.length)) {
    const own = args.map((arg) => (arg instanceof ResultOf ? (results[arg.step] as number) : arg))
    const result = await callInPool(op, native as Native<unknown[]>, own)
    results.push(result)
    if (!goesOn(flags, result)) break
  }
  return results
}

/** Whether a thread of our own may make a call of this function now. Fault points are asked for each call, which is then made through the limiter. */
function threadsFor(number: number): boolean {
  if (number === SLOW || faultsAreSet()) return false
  if (threads === undefined) {
    if (++callsMade > CALLS_BEFORE_THREADS) threads = new CallThreads(prototypes.slice(), makeElsewhere)
    return false
  }
  return threads.knows(number) && threads.free
}

/** Makes calls that wait behind threads that are all stuck, and those that are left of a thread that died. */
function makeElsewhere(
  steps: readonly SystemCall[],
  before: readonly number[],
  returned: (results: readonly number[]) => void,
): void {
  callsInPool(steps, before).then(returned, () => returned([...before, -EINVAL]))
}

function onThread(steps: readonly ThreadStep[], kept: readonly SystemCall[]): Promise<readonly number[]> {
  return new Promise((resolve) => (threads as CallThreads<readonly SystemCall[]>).send(steps, kept, resolve))
}

function firstOf(results: readonly number[]): number {
  return results[0] as number
}

function toProgram(steps: readonly SystemCall[]): ThreadStep[] | undefined {
  const program: ThreadStep[] = []
  for (const { native, args, flags: when } of steps) {
    let flags = when
    const own = args.map((arg, i) => {
      if (!(arg instanceof ResultOf)) return arg
      flags |= 1 << i
      return arg.step
    })
    const numbers = toNumbers(own)
    if (!numbers) return undefined
    program.push({ number: native.number, flags, args: numbers })
  }
  return program
}

/** Arguments with addresses for memory; undefined when one is neither, which is for koffi to refuse. */
function toNumbers(args: readonly unknown[]): number[] | undefined {
  const numbers: number[] = []
  for (const arg of args) {
    if (typeof arg === 'number') numbers.push(arg)
    else if (ArrayBuffer.isView(arg)) numbers.push(addressOf(arg))
    else return undefined
  }
  return numbers
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

/** Threads of our own that are ready to make calls. */
export function threadsReady(): number {
  return threads?.ready ?? 0
}

/** `CallThreads.setFault` of the threads in use. Only for tests; needs `threadsReady`. */
export function setThreadFault(point: number, fault: number): number {
  return threads?.setFault(point, fault) ?? 0
}

/** The function of libc that the last fault of `setThreadFault` met. */
export function struckFunction(): string {
  return /(\w+)\(/.exec(prototypes[threads?.struck ?? 0] ?? '')?.[1] ?? ''
}

/** How full the limiter is: calls running and calls waiting for a place. */
export function gateLoad(): { inFlight: number; queued: number } {
  return {
    inFlight: nativeLimiter.inFlight + nodeLimiter.inFlight + (threads?.underWay ?? 0),
    queued: nativeLimiter.queued + nodeLimiter.queued,
  }
}
