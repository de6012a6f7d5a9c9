import type { FaultPoints } from '../../overlay-core/sys/fault.ts'
import { O_CREAT } from '../../overlay-core/sys/flags.ts'

/** Calls after which something on disk may be different. */
const CHANGING = new Set([
  ...['mkdirat', 'mknodat', 'symlinkat', 'linkat', 'unlinkat', 'renameat2'],
  ...['fchmodat', 'fchmod', 'fchownat', 'utimensat', 'setxattr', 'removexattr'],
  ...['ftruncate', 'fallocate', 'pwrite', 'pwritev', 'copy_file_range', 'ficlone'],
])

/** One system call that was seen. */
export interface SeenCall {
  readonly op: string
  readonly changing: boolean
}

/**
 * Which call: the n-th that starts (before it is made), or the n-th that ends; counted from 1. Or the n-th point that the threads pass, which
 * is before the first call that they make, after it, before the second one, and so on.
 */
export interface Point {
  readonly when: 'before' | 'after' | 'thread'
  readonly count: number
}

/** Counts and records all calls, and does something at one of them. */
export class CallCounter implements FaultPoints {
  readonly seen: SeenCall[] = []
  ended = 0
  readonly #point: Point | undefined
  readonly #strike: (op: string) => number

  /** @param strike what happens at `point`: ends the process, or returns the errno to answer before the call */
  constructor(point: Point | undefined, strike: (op: string) => number) {
    this.#point = point
    this.#strike = strike
    this.before = this.before.bind(this)
    this.after = this.after.bind(this)
  }

  before(op: string, args: readonly unknown[]): number {
    this.seen.push({ op, changing: CHANGING.has(op) || creates(op, args) })
    const hit = this.#point?.when === 'before' && this.#point.count === this.seen.length
    return hit ? this.#strike(op) : 0
  }

  after(op: string): void {
    this.ended++
    if (this.#point?.when === 'after' && this.#point.count === this.ended) this.#strike(op)
  }
}

function creates(op: string, args: readonly unknown[]): boolean {
  if (op === 'openat') return ((args[2] as number) & O_CREAT) !== 0
  const how = args[3]
  return op === 'openat2' && how instanceof Uint32Array && ((how[0] as number) & O_CREAT) !== 0
}

/**
 * Lets everything through. With fault points, whatever they do, the core makes its calls one by one and starts no threads of its own,
 * which would be missing in a forked child.
 */
export const NO_FAULTS: FaultPoints = { before: () => 0, after: () => undefined }
