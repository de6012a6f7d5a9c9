import { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import koffi from 'koffi'
import {
  CONTROL_BYTES,
  Control,
  MOST_THREADS,
  SLOT_WORDS,
  SLOTS,
  Slot,
  STEP_WORDS,
  THREAD_WORDS,
  type ThreadData,
  ThreadState,
} from './thread-layout.ts'

/** The number of dead threads that are replaced before libuv's pool makes all calls. */
const MOST_REPLACED = 64
/** The threads count as stuck after this time without a finished call. */
const STUCK_MS = 2
const EIO = 5
/** How many turns of its loop the main thread checks for finished calls, once per turn, before it sleeps. */
const LOOKS = 24
const O_NONBLOCK_CLOEXEC = 0o2004000
/** The threads use hardly any JavaScript memory. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 }

/** One call of a trip. `args` are numbers, where pointers are addresses; a bit of `flags` marks an argument as the result of an earlier step. */
export interface ThreadStep {
  readonly number: number
  readonly flags: number
  readonly args: readonly number[]
}

/** Receives the results of a trip, one for each step that was made. */
export type Returned = (results: readonly number[]) => void

/** Makes the steps of a trip after those that already have `results`; `kept` is what was given to `send`. */
export type Elsewhere<Kept> = (kept: Kept, results: readonly number[], returned: Returned) => void

/**
 * Threads that make system calls for the main thread, several calls per trip. Sending a trip and receiving its results costs the main
 * thread about two microseconds, a tenth of the cost of a call through libuv's pool: both sides poll shared memory, and sleep
 * only if nothing arrives for a while.
 */
export class CallThreads<Kept> {
  readonly #elsewhere: Elsewhere<Kept>
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_BYTES))
  readonly #slots = new Float64Array(new SharedArrayBuffer(SLOTS * SLOT_WORDS * 8))
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, i) => SLOTS - 1 - i)
  readonly #returned: (Returned | undefined)[] = new Array(SLOTS).fill(undefined)
  readonly #kept: (Kept | undefined)[] = new Array(SLOTS).fill(undefined)
  readonly #functions: number
  readonly #mostReplaced: number
  readonly #wakeUp: Socket
  readonly #workerData: Omit<ThreadData, 'index'>
  /** The number of ready threads, and of those being started. */
  #threads = 0
  #starting = 0
  #replaced = 0
  #underWay = 0
  #asked = 0
  #ended = 0
  #looks = 0
  #looking = false
  /** Whether all threads are busy and none has finished a call for some time. */
  #stuck = false
  #watching = false
  readonly #look = () => {
    this.#looking = false
    this.#lookForEnded()
  }

  /**
   * @param prototypes the C prototypes of all functions that will be called, by number
   * @param elsewhere makes the calls of a trip that no thread has started because all are stuck, or whose thread died
   */
  constructor(prototypes: readonly string[], elsewhere: Elsewhere<Kept>, mostReplaced = MOST_REPLACED) {
    this.#elsewhere = elsewhere
    this.#mostReplaced = mostReplaced
    this.#functions = prototypes.length
    const [readEnd, writeEnd] = makePipe()
    const onread = {
      buffer: Buffer.alloc(64),
      callback: () => {
        if (!this.#looking) this.#lookForEnded()
        return true
      },
    }
    this.#wakeUp = new Socket({ fd: readEnd, readable: true, writable: false, onread })
    this.#wakeUp.unref()
    this.#workerData = {
      control: this.#control.buffer as SharedArrayBuffer,
      slots: this.#slots.buffer as SharedArrayBuffer,
      prototypes,
      wakeFd: writeEnd,
    }
    const count = Math.min(MOST_THREADS, Math.max(2, availableParallelism()))
    for (let i = 0; i < count; i++) this.#start(i)
  }

  /** The number of threads that can make calls. */
  get ready(): number {
    return this.#threads
  }

  /** The number of trips in progress. */
  get underWay(): number {
    return this.#underWay
  }

  /** How many trips have ended, modulo 2^32, and how many of their calls were long. */
  get past(): { readonly trips: number; readonly long: number } {
    return { trips: this.#ended, long: Atomics.load(this.#control, Control.long) }
  }

  /**
   * Whether a trip could start soon: a slot is free, and not all threads wait for a disk or for a network file system, which may never
   * answer.
   */
  get free(): boolean {
    return this.#threads > 0 && this.#free.length > 0 && !(this.#stuck && this.#underWay >= this.#threads)
  }

  /**
   * For tests: sets a fault, an errno or one of `Fault`, for the `point`-th point from now; there is one before and one after each call. 0 removes the
   * fault. Returns how many points were left until the previous fault.
   */
  setFault(point: number, fault: number): number {
    const left = Atomics.exchange(this.#control, Control.faultIn, 0)
    Atomics.store(this.#control, Control.fault, fault)
    Atomics.store(this.#control, Control.faultIn, point)
    return Math.max(0, left)
  }

  /** The number of the function that the last fault hit. */
  get struck(): number {
    return Atomics.load(this.#control, Control.struck)
  }

  /** Whether the threads can call the function. */
  knows(number: number): boolean {
    return number < this.#functions
  }

  /** Sends a trip, if a thread is `free`. `kept` holds the memory that the arguments point to. */
  send(steps: readonly ThreadStep[], kept: Kept, returned: Returned): void {
    const slot = this.#free.pop() as number
    const base = slot * SLOT_WORDS
    const slots = this.#slots
    slots[base + Slot.steps] = steps.length
    for (let i = 0; i < steps.length; i++) {
      const { number, flags, args } = steps[i] as ThreadStep
      const at = base + Slot.program + i * STEP_WORDS
      slots[at] = number
      slots[at + 1] = flags
      for (let j = 0; j < args.length; j++) slots[at + 2 + j] = args[j] as number
    }
    this.#returned[slot] = returned
    this.#kept[slot] = kept
    this.#hand(slot)
  }

  #hand(slot: number): void {
    const control = this.#control
    this.#underWay++
    if (this.#underWay === 1) {
      this.#wakeUp.ref()
      this.#looks = 0
    }
    this.#lookAgain()
    Atomics.store(control, Control.toMake + (this.#asked & (SLOTS - 1)), slot)
    this.#asked = (this.#asked + 1) | 0
    Atomics.store(control, Control.asked, this.#asked)
    if (Atomics.load(control, Control.sleeping) > 0) Atomics.notify(control, Control.asked, 1)
  }

  #lookAgain(): void {
    if (this.#looking) return
    this.#looking = true
    Atomics.store(this.#control, Control.wake, 0)
    setImmediate(this.#look)
  }

  /** Receives finished trips; checks again in the next turns of the loop, and then asks to be woken. */
  #lookForEnded(): void {
    for (;;) {
      if (this.#takeBack()) {
        this.#looks = 0
        this.#stuck = false
      }
      // A callback may have sent the next trip, which already checks for results.
      if (this.#underWay === 0 || this.#looking) return
      if (this.#looks++ < LOOKS) {
        this.#lookAgain()
        return
      }
      this.#watch()
      Atomics.store(this.#control, Control.wake, 1)
      // A call may have finished before the threads saw the request to wake.
      if (Atomics.load(this.#control, Control.made + (this.#ended & (SLOTS - 1))) === 0) return
    }
  }

  /** Detects that a disk or a network file system blocks all threads; waiting calls are then made elsewhere. */
  #watch(): void {
    if (this.#watching) return
    this.#watching = true
    const ended = this.#ended
    setTimeout(() => {
      this.#watching = false
      if (this.#underWay === 0) return
      if (this.#ended !== ended) {
        this.#watch()
        return
      }
      this.#stuck = this.#underWay >= this.#threads
      this.#emptyQueue()
    }, STUCK_MS)
  }

  #emptyQueue(): void {
    for (let slot = this.#takeFromQueue(); slot >= 0; slot = this.#takeFromQueue()) this.#sendElsewhere(slot, 0)
  }

  /** Takes a slot that no thread has taken yet; returns -1 if there is none. */
  #takeFromQueue(): number {
    const control = this.#control
    for (;;) {
      const taken = Atomics.load(control, Control.taken)
      if (taken === this.#asked) return -1
      const slot = Atomics.load(control, Control.toMake + (taken & (SLOTS - 1)))
      if (Atomics.compareExchange(control, Control.taken, taken, (taken + 1) | 0) === taken) return slot
    }
  }

  #sendElsewhere(slot: number, made: number): void {
    const returned = this.#returned[slot] as Returned
    const kept = this.#kept[slot] as Kept
    const results = this.#resultsOf(slot, made)
    this.#release(slot)
    this.#elsewhere(kept, results, returned)
  }

  #takeBack(): boolean {
    const control = this.#control
    const before = this.#ended
    for (;;) {
      const at = Control.made + (this.#ended & (SLOTS - 1))
      const entry = Atomics.load(control, at)
      if (entry === 0) return this.#ended !== before
      Atomics.store(control, at, 0)
      this.#ended = (this.#ended + 1) | 0
      this.#giveBack(entry - 1)
    }
  }

  #giveBack(slot: number): void {
    const results = this.#resultsOf(slot, this.#slots[slot * SLOT_WORDS + Slot.steps] as number)
    const returned = this.#returned[slot] as Returned
    this.#release(slot)
    returned(results)
  }

  #resultsOf(slot: number, made: number): number[] {
    const first = slot * SLOT_WORDS + Slot.results
    const results: number[] = []
    for (let i = 0; i < made; i++) results.push(this.#slots[first + i] as number)
    return results
  }

  #release(slot: number): void {
    this.#returned[slot] = undefined
    this.#kept[slot] = undefined
    this.#free.push(slot)
    this.#underWay--
    if (this.#underWay === 0) this.#wakeUp.unref()
  }

  #start(index: number): void {
    const program = new URL(`./call-thread${import.meta.url.slice(-3)}`, import.meta.url)
    const workerData: ThreadData = { ...this.#workerData, index }
    let worker: Worker
    try {
      worker = new Worker(program, { workerData, resourceLimits: RESOURCE_LIMITS, execArgv: [] })
    } catch (error) {
      // There is no memory or process for a thread; other threads or the pool make the calls.
      this.#warn(error)
      return
    }
    this.#starting++
    let ready = false
    worker.unref()
    worker.once('message', () => {
      ready = true
      this.#starting--
      this.#threads++
    })
    worker.on('error', (error) => this.#warn(error))
    worker.once('exit', () => this.#buried(index, ready))
  }

  #warn(error: unknown): void {
    process.emitWarning(`a system call thread ended: ${error instanceof Error ? error.message : error}`)
  }

  /** Handles the end of a thread: its trip continues elsewhere. */
  #buried(index: number, wasReady: boolean): void {
    const control = this.#control
    const own = Control.threads + index * THREAD_WORDS
    const [slot, waits] = [control[own + ThreadState.slot] as number, control[own + ThreadState.waits] as number]
    if (waits === 1) Atomics.store(control, Control.lookout, 0)
    if (waits === 2) Atomics.sub(control, Control.sleeping, 1)
    const progress = control[own + ThreadState.progress] as number
    control.fill(0, own, own + THREAD_WORDS)
    if (wasReady) this.#threads--
    else this.#starting--
    if (wasReady && this.#replaced++ < this.#mostReplaced) this.#start(index)
    if (slot > 0) this.#goOn(slot - 1, progress)
    if (this.#threads + this.#starting === 0) this.#emptyQueue()
  }

  /** Continues the trip of a dead thread. A call in progress may or may not have been made, so it fails with EIO; otherwise nobody notices. */
  #goOn(slot: number, progress: number): void {
    const made = Math.floor(progress / 2)
    if (progress % 2 === 0) {
      this.#sendElsewhere(slot, made)
      return
    }
    const base = slot * SLOT_WORDS
    this.#slots[base + Slot.steps] = made + 1
    this.#slots[base + Slot.results + made] = -EIO
    this.#giveBack(slot)
  }
}

function makePipe(): [readEnd: number, writeEnd: number] {
  const ends = new Int32Array(2)
  const pipe2 = koffi.load(null).func('int pipe2(void *, int)') as (ends: Int32Array, flags: number) => number
  if (pipe2(ends, O_NONBLOCK_CLOEXEC) !== 0) throw new Error(`pipe2: errno ${koffi.errno()}`)
  return [ends[0] as number, ends[1] as number]
}
