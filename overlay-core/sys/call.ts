import koffi, { type KoffiFunc } from 'koffi'
import { activity } from '../api/activity.ts'
import type { OverlayError } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import type { MaybePromise } from '../api/types.ts'
import { CallThreads, type ThreadStep } from './call-threads.ts'
import { afterShortage, descriptorsAreFew, SHORTAGE_ATTEMPTS } from './descriptor-shares.ts'
import { argumentError, sysError } from './error.ts'
import { faultsAreSet } from './fault.ts'
import { Limiter } from './limiter.ts'
import { LoopTime, NO_TRIPS, type Trips } from './loop-time.ts'
import { nodeLimiter, throughGate } from './pool.ts'
import { goesOn, MOST_STEPS } from './thread-layout.ts'
import { switchesBy } from './thread-switches.ts'

/**
 * The maximum number of native calls in flight. koffi throws beyond 256, but reserves memory for only 32: each further call costs five times as much,
 * and 32 calls occupy every thread of the pool anyway.
 */
const NATIVE_PLACES = 32
/** The number of native calls after which threads of our own are started; a program that makes few calls does not need them. */
const CALLS_BEFORE_THREADS = 256
const EINTR = 4
const EAGAIN = 11
const EINVAL = 22
const EMFILE = 24
/** The number of functions that may take long, which run in libuv's pool because it has more threads. */
const SLOW = -1

koffi.config({ resident_async_pools: NATIVE_PLACES, async_stack_size: 64 * 1024, async_heap_size: 16 * 1024 })
const libc = koffi.load(null)
const nativeLimiter = new Limiter(NATIVE_PLACES)
const prototypes: string[] = []
let threads: CallThreads<readonly SystemCall[]> | undefined
let callsMade = 0
let threadFaults = false
const readSwitches = switchesBy(libc.func('int getrusage(int, void *)'))
const loopTime = new LoopTime(() => performance.now(), readSwitches, pastTrips)

function pastTrips(): Trips {
  return threads?.past ?? NO_TRIPS
}

/** Whether a call with these arguments is short, as far as that can be told beforehand. */
export type Short<A extends unknown[]> = (...args: A) => boolean

/** A libc function that returns a number, or -1 and errno on failure. */
export type Native<A extends unknown[]> = KoffiFunc<(...args: A) => number> & {
  readonly number: number
  /** Whether a call may be made on the event loop. */
  readonly short: boolean | Short<A>
}

/**
 * Binds a libc function by its C prototype. Pointers of calls that run in the pool are `void *` and take a Buffer. `short` tells which calls are
 * short enough for the event loop, as far as the arguments show.
 */
export function bind<A extends unknown[]>(prototype: string, short: boolean | Short<A> = true): Native<A> {
  const number = prototypes.push(prototype) - 1
  return Object.assign(libc.func(prototype), { number, short }) as Native<A>
}

/** Like `bind`, for a function that may take long on any disk. */
export function bindSlow<A extends unknown[]>(prototype: string): Native<A> {
  return Object.assign(libc.func(prototype), { number: SLOW, short: false }) as Native<A>
}

/** The address of memory owned by `buffer`, for prototypes that take it as `uintptr_t`; valid as long as the buffer is referenced. */
export function addressOf(buffer: ArrayBufferView): number {
  return Number(koffi.address(buffer))
}

/** The errno of the last synchronous call on the main thread. */
export function lastErrno(): number {
  return koffi.errno()
}

/**
 * Makes a native call: on the event loop if it is short and nothing else waits, otherwise on a thread of our own or through the limiter. Returns
 * its result or minus errno. The arguments are kept alive until it ends.
 */
export function tryCall<A extends unknown[]>(op: string, native: Native<A>, ...args: A): MaybePromise<number> {
  if (isLoopFree() && isShort(native, args)) return callNow(op, native, args)
  return callElsewhere(op, native, args)
}

/** Whether calls may be made on the event loop now: no other call waits for a thread, and the loop has time. */
function isLoopFree(): boolean {
  // Until threads are started all calls go to the pool: the first calls need not be fast, and no thread could take over from the loop.
  if (threads === undefined) return false
  return loopTime.free && threads.underWay === 0 && nativeLimiter.inFlight === 0 && !faultsAreSet()
}

function isShort<A extends unknown[]>({ short }: Native<A>, args: A): boolean {
  return short === true || (short !== false && short(...args))
}

/** @throws EINVAL the arguments were refused before the kernel saw them */
function callNow<A extends unknown[]>(op: string, native: Native<A>, args: A): number {
  try {
    for (;;) {
      loopTime.begin()
      const result = Number(native(...args))
      const errno = result === -1 ? koffi.errno() : 0
      loopTime.end()
      if (errno === 0) return result
      if (errno !== EINTR) return -errno
    }
  } catch (error) {
    throw argumentError(op, error)
  }
}

/** Makes the first steps on the event loop, as long as they are short and there is time. Returns their results. */
function callsNow(steps: readonly SystemCall[]): number[] {
  const results: number[] = []
  for (const { op, native, args, flags } of steps) {
    const own = withResults(args, results)
    if (!loopTime.free || !isShort(native as Native<unknown[]>, own)) break
    const result = callNow(op, native as Native<unknown[]>, own)
    results.push(result)
    if (!goesOn(flags, result)) break
  }
  return results
}

function withResults(args: readonly unknown[], results: readonly number[]): unknown[] {
  return args.map((arg) => (arg instanceof ResultOf ? (results[arg.step] as number) : arg))
}

/** For file systems that depend on another process: makes no more calls on the event loop until `allowCallsOnLoop` was called as often. */
export function forbidCallsOnLoop(): void {
  loopTime.forbid()
}

/** Undoes one `forbidCallsOnLoop`. */
export function allowCallsOnLoop(): void {
  loopTime.allow()
}

/** Makes a short call on the event loop if there is time for it now; otherwise returns -EAGAIN. `make` returns its result or minus errno. */
export function tryOnLoop(make: () => number): number {
  if (!isLoopFree()) return -EAGAIN
  loopTime.begin()
  try {
    return make()
  } finally {
    loopTime.end()
  }
}

/** Waits for a sync. While a long one runs, no call is made on the event loop. Its duration tells whether the disk is slow. */
export async function timedSync(sync: Promise<number>): Promise<number> {
  const before = performance.now()
  loopTime.syncBegins()
  try {
    return await sync
  } finally {
    const ms = performance.now() - before
    loopTime.syncEnds(ms)
    activity.syncs.add(ms)
  }
}

function callElsewhere<A extends unknown[]>(op: string, native: Native<A>, args: A): Promise<number> {
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
      // koffi sets errno to that of the call while this callback runs; `error` is about the arguments.
      done(result === -1 ? -koffi.errno() : result, error)
    })
  })
}

/** Refers, in the arguments of a step, to the result of an earlier step. */
export class ResultOf {
  readonly step: number

  constructor(step: number) {
    this.step = step
  }
}

/** A call to be made together with others (`tryCalls`). */
export interface SystemCall {
  readonly op: string
  readonly native: Native<never>
  readonly args: readonly unknown[]
  /** When the next step is made: `GOES_ON_AFTER_FAILURE`, `WANTS_NOTHING`, or 0 for after success. */
  readonly flags: number
}

/** A step of `tryCalls`: like `tryCall`, but numbers may be results of earlier steps. */
export function step<A extends unknown[]>(
  op: string,
  native: Native<A>,
  ...args: { [K in keyof A]: A[K] extends number ? number | ResultOf : A[K] }
): SystemCall {
  return { op, native: native as Native<never>, args, flags: 0 }
}

/** Makes a single step, whose arguments are all known. Returns its result or minus errno. */
export function tryStep({ op, native, args }: SystemCall): MaybePromise<number> {
  return tryCall(op, native as Native<unknown[]>, ...args)
}

/** Like `tryStep`, but fails with an OverlayError that names, if given, the component `name`. */
export function makeStep(made: SystemCall, name?: string): MaybePromise<number> {
  return call(made.op, name, made.native as Native<unknown[]>, ...made.args)
}

/** The error of the steps that were made with these results; undefined if the last one succeeded. */
export function failureOf(
  steps: readonly SystemCall[],
  results: readonly number[],
  name: string | undefined,
): OverlayError | undefined {
  const last = results.at(-1) as number
  return last < 0 ? sysError((steps[results.length - 1] as SystemCall).op, -last, name) : undefined
}

/**
 * Makes several calls in a row, up to the first that fails (or as the flags say), without returning to the event loop in between. Returns the result of
 * each call made; that of the last one is minus errno if it failed. Only for calls that do not depend on the data that earlier ones have read.
 */
export function tryCalls(steps: readonly SystemCall[]): MaybePromise<readonly number[]> {
  return after(madeOnce(steps), (results) => (results.at(-1) === -EMFILE ? afterWait(steps, results) : results))
}

/** Goes on with the last of the steps that were made, which got no descriptor, when there may be some. */
export async function afterWait(steps: readonly SystemCall[], before: readonly number[]): Promise<readonly number[]> {
  let results = before
  for (let attempt = 0; results.at(-1) === -EMFILE && attempt < SHORTAGE_ATTEMPTS; attempt++) {
    await afterShortage()
    // Continues with the step that got no descriptor: it had no effect, and the earlier steps are done.
    results = await callsInPool(steps, results.slice(0, -1))
  }
  return results
}

function madeOnce(steps: readonly SystemCall[]): MaybePromise<readonly number[]> {
  const results = isLoopFree() ? callsNow(steps) : []
  const made = results.length
  if (made === 0) return callsElsewhere(steps)
  const last = steps[made - 1] as SystemCall
  if (made === steps.length || !goesOn(last.flags, results[made - 1] as number)) return results
  return goOnElsewhere(steps, results)
}

/** Makes the steps after those that already have `results`. */
async function goOnElsewhere(steps: readonly SystemCall[], results: readonly number[]): Promise<readonly number[]> {
  const made = results.length
  const rest = steps.slice(made).map((one) => ({ ...one, args: one.args.map((arg) => shifted(arg, results)) }))
  return [...results, ...(await callsElsewhere(rest))]
}

function shifted(arg: unknown, results: readonly number[]): unknown {
  if (!(arg instanceof ResultOf)) return arg
  return arg.step < results.length ? results[arg.step] : new ResultOf(arg.step - results.length)
}

/** Like `tryCalls`, but never makes a call on the event loop. */
export async function callsElsewhere(steps: readonly SystemCall[]): Promise<readonly number[]> {
  if (steps.length <= MOST_STEPS && steps.every(({ native }) => threadsFor(native.number))) {
    const program = toProgram(steps)
    if (program) return await onThread(program, steps)
  }
  return await callsInPool(steps)
}

/** @param before results of the first steps, which have already been made */
async function callsInPool(steps: readonly SystemCall[], before: readonly number[] = []): Promise<readonly number[]> {
  const results = [...before]
  const last = steps[before.length - 1]
  if (last && !goesOn(last.flags, before.at(-1) as number)) return results
  for (const { op, native, args, flags } of steps.slice(before.length)) {
    const own = withResults(args, results)
    const result = await callInPool(op, native as Native<unknown[]>, own)
    results.push(result)
    if (!goesOn(flags, result)) break
  }
  return results
}

/** Whether a thread of our own may make a call of this function now. With fault points set, each call goes through the limiter instead. */
function threadsFor(number: number): boolean {
  if (number === SLOW || faultsAreSet() || descriptorsAreFew()) return false
  if (threads === undefined) {
    if (++callsMade > CALLS_BEFORE_THREADS) startThreads()
    return false
  }
  return threads.knows(number) && threads.free
}

/** Starts the threads. Each costs half a dozen descriptors; if there are none, the pool makes the calls, and a later call tries again. */
function startThreads(): void {
  callsMade = 0
  try {
    threads = new CallThreads(prototypes.slice(), makeElsewhere)
  } catch (error) {
    if (lastErrno() !== EMFILE) throw error
  }
}

/** Makes calls that wait behind threads that are all stuck, and the remaining calls of a thread that died. */
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

/** Replaces memory in the arguments by its address; undefined if an argument is neither a number nor memory, so that koffi refuses it. */
function toNumbers(args: readonly unknown[]): number[] | undefined {
  const numbers: number[] = []
  for (const arg of args) {
    if (typeof arg === 'number') numbers.push(arg)
    else if (ArrayBuffer.isView(arg)) numbers.push(addressOf(arg))
    else return undefined
  }
  return numbers
}

/** Like `tryCall`, but fails with an OverlayError that names `op` and, if given, the component `name`. */
export function call<A extends unknown[]>(
  op: string,
  name: string | undefined,
  native: Native<A>,
  ...args: A
): MaybePromise<number> {
  return after(tryCall(op, native, ...args), (result) => {
    if (result < 0) throw sysError(op, -result, name)
    return result
  })
}

/** The number of threads of our own that are ready to make calls. */
export function threadsReady(): number {
  return threads?.ready ?? 0
}

/** Calls `CallThreads.setFault` of the threads in use, which then make all calls. Only for tests; needs `threadsReady`. */
export function setThreadFault(point: number, fault: number): number {
  if (!threadFaults) loopTime.forbid()
  threadFaults = true
  return threads?.setFault(point, fault) ?? 0
}

/** The libc function that the last fault of `setThreadFault` hit. */
export function struckFunction(): string {
  return /(\w+)\(/.exec(prototypes[threads?.struck ?? 0] ?? '')?.[1] ?? ''
}

/** The load of the limiter and the threads: calls running and calls waiting. */
export function gateLoad(): { inFlight: number; queued: number } {
  return {
    inFlight: nativeLimiter.inFlight + nodeLimiter.inFlight + (threads?.underWay ?? 0),
    queued: nativeLimiter.queued + nodeLimiter.queued,
  }
}
