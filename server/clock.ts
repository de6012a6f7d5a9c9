/** Milliseconds since the epoch. */
export type Clock = () => number

/** The clock of this machine. */
export const systemClock: Clock = Date.now

/** Milliseconds on the monotonic clock (CLOCK_MONOTONIC), which all processes share until the next boot. */
export const steadyClock: Clock = () => Number(process.hrtime.bigint() / 1_000_000n)

/** Milliseconds and parts of them since this process began, on the clock that nobody sets. */
export const fineClock: Clock = () => performance.now()
