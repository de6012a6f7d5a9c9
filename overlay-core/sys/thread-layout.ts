/**
 * The memory that the main thread shares with the threads that make system calls for it: a queue of calls to make, a queue of finished
 * calls, and a slot for each call in progress, which describes the work and receives the results.
 */

/** The number of slots, which is the maximum number of calls in progress. A power of two; the queues have the same length. */
export const SLOTS = 256
/** The maximum number of system calls of one trip to a thread. */
export const MOST_STEPS = 24
export const MOST_ARGUMENTS = 6
/** More threads do not help: the calls are short, and some of the long ones must be made elsewhere anyway. */
export const MOST_THREADS = 4

/** A call of a thread that took longer than this, in ms, is counted: it waited for a disk, or for the processor. */
export const LONG_CALL_MS = 1

/** Words (32 bits) of the control memory. */
export const Control = {
  /** How many slots were ever put into the queue of calls to make; threads wait on this word. */
  asked: 0,
  /** How many of them were taken by a thread. */
  taken: 1,
  /** The number of sleeping threads. */
  sleeping: 2,
  /** How many slots were ever put into the queue of finished calls. */
  ended: 3,
  /** 1: the main thread sleeps or may sleep, and must be woken through the pipe when the next call finishes. */
  wake: 4,
  /** 1: a thread polls for the next call without sleeping; only one does at a time. */
  lookout: 5,
  /** For tests: the number of points until the fault (there is one before and one after each call); 0: no fault. */
  faultIn: 6,
  /** The fault: an errno to report instead of making the call, or one of `Fault`. */
  fault: 7,
  /** The number of the function that the last fault hit. */
  struck: 8,
  /** How many calls of the threads took longer than `LONG_CALL_MS`. */
  long: 9,
  /** The queues contain slot numbers; in the queue of finished calls plus one, because 0 means not yet written. */
  toMake: 16,
  made: 16 + SLOTS,
  /** The state of each thread, `THREAD_WORDS` each, so that others know what a thread was doing when it died. */
  threads: 16 + 2 * SLOTS,
} as const

/** The words of the state of a thread. */
export const ThreadState = {
  /** The slot that it works on, plus one; 0 if none. */
  slot: 0,
  /** Twice the number of steps that have results, plus one while the next step is being made. */
  progress: 1,
  /** 1: it polls; 2: it sleeps and is counted in `sleeping`. */
  waits: 2,
} as const
export const THREAD_WORDS = 3
export const CONTROL_BYTES = (Control.threads + MOST_THREADS * THREAD_WORDS) * 4

/** Faults other than an errno. */
export const Fault = { kill: -1, endThread: -2 } as const

/** A slot consists of 64-bit floats, which represent every argument exactly: numbers, descriptors, addresses, sizes up to 2^53. */
export const Slot = {
  /** The number of steps; afterwards the number of steps that were made. */
  steps: 0,
  /** The result of each step: the return value of the call, or minus errno. */
  results: 1,
  /** The steps, `STEP_WORDS` each: function number, flags, arguments. */
  program: 1 + MOST_STEPS,
} as const
export const STEP_WORDS = 2 + MOST_ARGUMENTS
export const SLOT_WORDS = 1 + MOST_STEPS + MOST_STEPS * STEP_WORDS

/** Flags of a step. Bit i means that argument i is the number of an earlier step, whose result is used. */
export const GOES_ON_AFTER_FAILURE = 1 << MOST_ARGUMENTS
/** The next step is made only if this one has failed with ENOENT. */
export const WANTS_NOTHING = 1 << (MOST_ARGUMENTS + 1)

/** Whether the next step is made after one with these `flags` and this `result`. */
export function goesOn(flags: number, result: number): boolean {
  if ((flags & WANTS_NOTHING) !== 0) return result === -2
  return result >= 0 || (flags & GOES_ON_AFTER_FAILURE) !== 0
}

/** The data that a thread gets at its start. */
export interface ThreadData {
  /** The number of the thread. */
  readonly index: number
  readonly control: SharedArrayBuffer
  readonly slots: SharedArrayBuffer
  /** C prototypes by function number. */
  readonly prototypes: readonly string[]
  /** The end of the pipe that wakes the main thread. */
  readonly wakeFd: number
}
