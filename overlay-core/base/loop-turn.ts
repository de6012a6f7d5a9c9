/** Steps of work, of about a microsecond each, after which others get their turn. */
export const STEPS_PER_TURN = 1024

/** Lets the event loop do what else is due: in long work once in every `STEPS_PER_TURN` steps. */
export function loopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
