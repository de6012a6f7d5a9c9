/** Time, as the core needs it: injected at mount, so that tests decide it. */
export interface Clock {
  /** Milliseconds from any fixed point. */
  now(): number
  /** Calls `tick` every `intervalMs` until the returned function is called; does not keep the process alive. */
  every(intervalMs: number, tick: () => void): () => void
}
