import { isErrno } from '../../overlay-core/index.ts'
import type { DavContext } from './context.ts'

const MOST_TRIES = 5

/**
 * Runs `look`, and again when what it found at a name was replaced under its hands: the name is taken by something else now, and only a new
 * look tells whether by nothing. Not once an answer has begun.
 */
export async function lookAgain(ctx: DavContext, look: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await look()
      return
    } catch (error) {
      if (tries === MOST_TRIES || ctx.res.headersSent || !isErrno(error, 'ESTALE')) throw error
    }
  }
}
