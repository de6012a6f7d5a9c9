/** Milliseconds since the epoch. */
export type Clock = () => number

/** The clock of this machine. */
export const systemClock: Clock = Date.now

/** Milliseconds on the clock that nobody sets (CLOCK_MONOTONIC): the same one for all processes of a boot. */
export const steadyClock: Clock = () => Number(process.hrtime.bigint() / 1_000_000n)
