/**
 * The memory that the main thread shares with the threads that make system calls for it: a queue of calls to make, a queue of calls that
 * ended, and for each call under way a slot that says what to do and takes the results.
 */

/** Slots, and so calls under way. A power of two: the queues are as long. */
export const SLOTS = 256
/** The maximum number of system calls of one trip to a thread. */
export const MOST_STEPS = 24
export const MOST_ARGUMENTS = 6
/** More threads do not help: the calls are short, and of those that take long there must be some that are made elsewhere. */
export const MOST_THREADS = 4

/** Words (32 bits) of the control memory. */
export const Control = {
  /** How many slots were ever put into the queue of calls to make; the threads wait on it. */
  asked: 0,
  /** How many of them a thread has taken. */
  taken: 1,
  /** The number of sleeping threads. */
  sleeping: 2,
  /** How many slots were ever put into the queue of ended calls. */
  ended: 3,
  /** 1: the main thread sleeps, or may, and wants to be woken by the pipe at the next end of a call. */
  wake: 4,
  /** 1: a thread looks out for the next call without sleeping; one does at a time. */
  lookout: 5,
  /** For tests: how many points (before and after each call there is one) are passed until the fault; 0: there is none. */
  faultIn: 6,
  /** What the fault is: an errno to answer in the call's stead, or one of `Fault`. */
  fault: 7,
  /** The number of the function that the last fault met. */
  struck: 8,
  /** The queues: slot numbers, in that of ended calls plus one, as 0 stands for an entry not yet written. */
  toMake: 16,
  made: 16 + SLOTS,
  /** What each thread is at, `THREAD_WORDS` each: should it die, others have to know. */
  threads: 16 + 2 * SLOTS,
} as const

/** The words of a thread. */
export const ThreadState = {
  /** The slot that it works on, plus one; 0 when none. */
  slot: 0,
  /** Twice the number of its steps that have their results; and one while the next is being made. */
  progress: 1,
  /** 1: it is on the lookout, 2: it sleeps, and is counted among those. */
  waits: 2,
} as const
export const THREAD_WORDS = 3
export const CONTROL_BYTES = (Control.threads + MOST_THREADS * THREAD_WORDS) * 4

/** Faults other than an errno. */
export const Fault = { kill: -1, endThread: -2 } as const

/** A slot is made of 64-bit floats, which hold every argument exactly: numbers, descriptors, addresses, sizes up to 2^53. */
export const Slot = {
  /** How many steps there are; afterwards how many were made. */
  steps: 0,
  /** The result of each step: what the call returned, or minus errno. */
  results: 1,
  /** The steps, `STEP_WORDS` each: function number, flags, arguments. */
  program: 1 + MOST_STEPS,
} as const
export const STEP_WORDS = 2 + MOST_ARGUMENTS
export const SLOT_WORDS = 1 + MOST_STEPS + MOST_STEPS * STEP_WORDS

/** Flags of a step: bit i says that argument i is the number of an earlier step, whose result is meant. */
export const GOES_ON_AFTER_FAILURE = 1 << MOST_ARGUMENTS
/** The next step is made only when this one has failed with ENOENT. */
export const WANTS_NOTHING = 1 << (MOST_ARGUMENTS + 1)

/** Whether the step after one with these `flags` and this `result` is made. */
export function goesOn(flags: number, result: number): boolean {
  if ((flags & WANTS_NOTHING) !== 0) return result === -2
  return result >= 0 || (flags & GOES_ON_AFTER_FAILURE) !== 0
}

/** What a thread is given at its start. */
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
