import type { Begin } from './pool.ts'

/** Fault points of a test. */
export interface FaultPoints {
  /**
   * Asked before each call is made, and again before it is repeated after EINTR: 0 lets it through, an errno is answered in its
   * stead. A close is made all the same, as in the kernel, where the descriptor is gone also when it fails. May also end the process. `args` are those of a native call; empty for one of `node:fs` and for one made at once.
   */
  before(op: string, args: readonly unknown[]): number
  /** Told when a call that was let through has ended, before its result is known to anybody else. */
  after(op: string, args: readonly unknown[], result: number): void
}

let points: FaultPoints | undefined

/**
 * Sets fault points at the limiter, or with undefined takes them away. Only for tests of crashes and failing system calls: nothing in
 * the program calls this, and without fault points a call costs one comparison more.
 */
export function setFaultPoints(faultPoints: FaultPoints | undefined): void {
  points = faultPoints
}

/** Whether fault points are set; calls are then made individually. */
export function faultsAreSet(): boolean {
  return points !== undefined
}

/** `begin` behind the fault points, if there are any. */
export function withFaults(op: string, args: readonly unknown[], begin: Begin): Begin {
  if (points === undefined) return begin
  const { before, after } = points
  return (done) => {
    const errno = before(op, args)
    // Later, as the real answer would come: who started the call is not prepared for its end yet.
    if (errno > 0 && op === 'close') begin((_result, refused) => done(-errno, refused))
    else if (errno > 0) queueMicrotask(() => done(-errno))
    else
      begin((result, refused) => {
        after(op, args, result)
        done(result, refused)
      })
  }
}

/** For a call that is made at once, outside of the limiter: the errno to fail with, or 0. */
export function faultNow(op: string): number {
  return points === undefined ? 0 : points.before(op, [])
}
