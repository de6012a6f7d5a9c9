/** Something that listens. */
export interface Listener<T> {
  listen(): Promise<T>
  close(): Promise<void>
}

/** Opened resources, which are closed in reverse order. */
export class ClosingOrder {
  readonly #closers: (() => Promise<void>)[] = []

  add(close: () => Promise<void>): void {
    this.#closers.push(close)
  }

  /** Starts a listener and resolves with its result. Rejects with its error; then there is nothing to close. */
  async open<T>(listener: Listener<T>): Promise<T> {
    const listening = await listener.listen()
    this.add(() => listener.close())
    return listening
  }

  /** Closes everything, the most recent first. */
  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}
