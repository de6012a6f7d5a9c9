import type { Begin } from './pool.ts'

/** Fault points of a test. */
export interface FaultPoints {
  /**
   * Called before each call is made, and again before it is repeated after EINTR. 0 lets it through; an errno is reported instead of making the
   * call. Only a close is made anyway, as in the kernel, where the descriptor is closed even if close fails. May also end the process. `args` are those of a
   * native call; empty for a call of `node:fs` and for a synchronous one.
   */
  before(op: string, args: readonly unknown[]): number
  /** Called when a call that was let through has ended, before anybody else knows its result. */
  after(op: string, args: readonly unknown[], result: number): void
}

let points: FaultPoints | undefined

/**
 * Sets fault points at the limiter, or removes them with undefined. Only for tests of crashes and failing system calls: nothing in
 * the program calls this, and without fault points a call costs only one additional comparison.
 */
export function setFaultPoints(faultPoints: FaultPoints | undefined): void {
  points = faultPoints
}

/** Whether fault points are set; calls are then made individually. */
export function faultsAreSet(): boolean {
  return points !== undefined
}

/** Wraps `begin` in the fault points, if any. */
export function withFaults(op: string, args: readonly unknown[], begin: Begin): Begin {
  if (points === undefined) return begin
  const { before, after } = points
  return (done) => {
    const errno = before(op, args)
    // Deferred, like a real result, because the caller is not ready for the end of the call yet.
    if (errno > 0 && op === 'close') begin((_result, refused) => done(-errno, refused))
    else if (errno > 0) queueMicrotask(() => done(-errno))
    else
      begin((result, refused) => {
        after(op, args, result)
        done(result, refused)
      })
  }
}

/** For a synchronous call outside the limiter: the errno to fail with, or 0. */
export function faultNow(op: string): number {
  return points === undefined ? 0 : points.before(op, [])
}
