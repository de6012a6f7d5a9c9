/**
 * The memory that the main thread shares with the threads that make system calls for it: a queue of calls to make, a queue of calls that
 * ended, and for each call under way a slot that says what to do and takes the results.
 */

/** Slots, and so calls under way. A power of two: the queues are as long. */
export const SLOTS = 256
/** System calls of one trip to a thread. */
export const MOST_STEPS = 24
export const MOST_ARGUMENTS = 6

/** Words (32 bits) of the control memory. */
export const Control = {
  /** How many slots were ever put into the queue of calls to make; the threads wait on it. */
  asked: 0,
  /** How many of them a thread has taken. */
  taken: 1,
  /** Threads that sleep. */
  sleeping: 2,
  /** How many slots were ever put into the queue of ended calls. */
  ended: 3,
  /** 1: the main thread sleeps, or may, and wants to be woken by the pipe at the next end of a call. */
  wake: 4,
  /** 1: a thread looks out for the next call without sleeping; one does at a time. */
  lookout: 5,
  /** The queues: slot numbers, in that of ended calls plus one, as 0 stands for an entry not yet written. */
  toMake: 16,
  made: 16 + SLOTS,
} as const
export const CONTROL_BYTES = (16 + 2 * SLOTS) * 4

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
  readonly control: SharedArrayBuffer
  readonly slots: SharedArrayBuffer
  /** C prototypes by function number. */
  readonly prototypes: readonly string[]
  /** The end of the pipe that wakes the main thread. */
  readonly wakeFd: number
}
