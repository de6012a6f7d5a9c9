/** The clock of the core, injected at mount so that tests can control it. */
export interface Clock {
  /** Milliseconds since an arbitrary fixed point. */
  now(): number
  /** Calls `tick` every `intervalMs` until the returned function is called; does not keep the process alive. */
  every(intervalMs: number, tick: () => void): () => void
}
