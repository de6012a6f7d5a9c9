import { isErrno, type MaybePromise } from '../../../overlay-core/index.ts'
import type { DavContext } from '../state/context.ts'

const MOST_TRIES = 5

/**
 * Runs `look`, and runs it again if the object that it found was replaced meanwhile: something else may have the name now, and only another
 * lookup can tell. Does not retry once a response has begun.
 */
export function lookAgain(ctx: DavContext, look: () => MaybePromise<void>): MaybePromise<void> {
  // Usually one run is enough, and a synchronous response needs no promise.
  try {
    const first = look()
    return first instanceof Promise ? first.catch((error: unknown) => again(ctx, look, error)) : first
  } catch (error) {
    return again(ctx, look, error)
  }
}

async function again(ctx: DavContext, look: () => MaybePromise<void>, first: unknown): Promise<void> {
  let failure = first
  for (let tries = 1; tries < MOST_TRIES && !ctx.res.headersSent && isErrno(failure, 'ESTALE'); tries++) {
    try {
      return await look()
    } catch (error) {
      failure = error
    }
  }
  throw failure
}
