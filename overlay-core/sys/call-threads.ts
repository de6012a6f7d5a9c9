import { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import koffi from 'koffi'
import { CONTROL_BYTES, Control, SLOT_WORDS, SLOTS, Slot, STEP_WORDS, type ThreadData } from './thread-layout.ts'

/** More do not help: the calls are short, and of those that take long there must be some that are made elsewhere. */
const MOST_THREADS = 4
/** After so long without any call that ends the threads count as stuck. */
const STUCK_MS = 2
/** How often the main thread looks for ended calls, once in each turn of its loop, before it sleeps. */
const LOOKS = 24
const O_NONBLOCK_CLOEXEC = 0o2004000
/** A thread holds no objects to speak of. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 }

/** One call of a trip: `args` are numbers, with addresses for pointers, or results of earlier steps where a bit of `flags` says so. */
export interface ThreadStep {
  readonly number: number
  readonly flags: number
  readonly args: readonly number[]
}

/** Takes the results of a trip, one for each step that was made. */
export type Returned = (results: readonly number[]) => void

/**
 * Threads that make system calls for the main thread, several of them on one trip. Handing a trip over and taking it back costs the main
 * thread about two microseconds, where a call through libuv's pool costs ten times as much: both sides look at shared memory, and sleep
 * only when nothing comes for a while.
 */
export class CallThreads<Kept> {
  readonly #elsewhere: (kept: Kept, returned: Returned) => void
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_BYTES))
  readonly #slots = new Float64Array(new SharedArrayBuffer(SLOTS * SLOT_WORDS * 8))
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, i) => SLOTS - 1 - i)
  readonly #returned: (Returned | undefined)[] = new Array(SLOTS).fill(undefined)
  readonly #kept: (Kept | undefined)[] = new Array(SLOTS).fill(undefined)
  readonly #functions: number
  readonly #wakeUp: Socket
  #threads = 0
  #underWay = 0
  #asked = 0
  #ended = 0
  #looks = 0
  #looking = false
  /** Threads are all at work, and none has ended a call for long. */
  #stuck = false
  #watching = false
  readonly #look = () => {
    this.#looking = false
    this.#lookForEnded()
  }

  /**
   * @param prototypes the C prototypes of all functions that will be called, by number
   * @param elsewhere makes the calls of a trip that no thread has begun, as all are stuck; is given what was `kept` for it
   */
  constructor(prototypes: readonly string[], elsewhere: (kept: Kept, returned: Returned) => void) {
    this.#elsewhere = elsewhere
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
    const workerData: ThreadData = {
      control: this.#control.buffer as SharedArrayBuffer,
      slots: this.#slots.buffer as SharedArrayBuffer,
      prototypes,
      wakeFd: writeEnd,
    }
    const count = Math.min(MOST_THREADS, Math.max(2, availableParallelism()))
    for (let i = 0; i < count; i++) this.#start(workerData)
  }

  /** Trips under way. */
  get underWay(): number {
    return this.#underWay
  }

  /**
   * Whether a trip could begin soon: a slot is free, and not all threads wait for a disk, or for a network file system that may never
   * answer.
   */
  get free(): boolean {
    return this.#threads > 0 && this.#free.length > 0 && !(this.#stuck && this.#underWay >= this.#threads)
  }

  /** Whether the threads know the function. */
  knows(number: number): boolean {
    return number < this.#functions
  }

  /** Sends a trip off, when there is a `free` thread. `kept` holds the memory that the arguments point to. */
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

  /** Takes back what has ended; looks again in the next turns of the loop, then asks to be woken. */
  #lookForEnded(): void {
    for (;;) {
      if (this.#takeBack()) {
        this.#looks = 0
        this.#stuck = false
      }
      // What was taken back may have sent the next trip off, which looks already.
      if (this.#underWay === 0 || this.#looking) return
      if (this.#looks++ < LOOKS) {
        this.#lookAgain()
        return
      }
      this.#watch()
      Atomics.store(this.#control, Control.wake, 1)
      // One could have ended before the threads saw that.
      if (Atomics.load(this.#control, Control.made + (this.#ended & (SLOTS - 1))) === 0) return
    }
  }

  /** A disk, or a server of a network file system, may keep all threads for long: what waits behind them then goes another way. */
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
      for (let slot = this.#takeFromQueue(); slot >= 0; slot = this.#takeFromQueue()) this.#sendElsewhere(slot)
    }, STUCK_MS)
  }

  /** A slot that no thread has taken yet, -1 when there is none. */
  #takeFromQueue(): number {
    const control = this.#control
    for (;;) {
      const taken = Atomics.load(control, Control.taken)
      if (taken === this.#asked) return -1
      const slot = Atomics.load(control, Control.toMake + (taken & (SLOTS - 1)))
      if (Atomics.compareExchange(control, Control.taken, taken, (taken + 1) | 0) === taken) return slot
    }
  }

  #sendElsewhere(slot: number): void {
    const returned = this.#returned[slot] as Returned
    const kept = this.#kept[slot] as Kept
    this.#release(slot)
    this.#elsewhere(kept, returned)
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
    const base = slot * SLOT_WORDS
    const made = this.#slots[base + Slot.steps] as number
    const results: number[] = []
    for (let i = 0; i < made; i++) results.push(this.#slots[base + Slot.results + i] as number)
    const returned = this.#returned[slot] as Returned
    this.#release(slot)
    returned(results)
  }

  #release(slot: number): void {
    this.#returned[slot] = undefined
    this.#kept[slot] = undefined
    this.#free.push(slot)
    this.#underWay--
    if (this.#underWay === 0) this.#wakeUp.unref()
  }

  #start(workerData: ThreadData): void {
    const program = new URL(`./call-thread${import.meta.url.slice(-3)}`, import.meta.url)
    const worker = new Worker(program, { workerData, resourceLimits: RESOURCE_LIMITS, execArgv: [] })
    worker.unref()
    worker.once('message', () => this.#threads++)
  }
}

function makePipe(): [readEnd: number, writeEnd: number] {
  const ends = new Int32Array(2)
  const pipe2 = koffi.load(null).func('int pipe2(void *, int)') as (ends: Int32Array, flags: number) => number
  if (pipe2(ends, O_NONBLOCK_CLOEXEC) !== 0) throw new Error(`pipe2: errno ${koffi.errno()}`)
  return [ends[0] as number, ends[1] as number]
}
