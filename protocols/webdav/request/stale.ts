import { isErrno, type MaybePromise } from '../../../overlay-core/index.ts'
import type { DavContext } from '../state/context.ts'

const MOST_TRIES = 5

/**
 * Runs `look`, and again when what it found at a name was replaced under its hands: the name is taken by something else now, and only a new
 * look tells whether by nothing. Not once an answer has begun.
 */
export function lookAgain(ctx: DavContext, look: () => MaybePromise<void>): MaybePromise<void> {
  // Mostly once is enough, and what is answered at once needs no promise.
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
