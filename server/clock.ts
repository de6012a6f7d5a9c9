/** Milliseconds since the epoch. */
export type Clock = () => number

/** The clock of this machine. */
export const systemClock: Clock = Date.now
