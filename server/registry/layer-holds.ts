/** The frozen layers that something reads beside their view. A squash leaves them where they are. */
export class LayerHolds {
  readonly #held = new Map<string, number>()
  #exchange: Promise<unknown> = Promise.resolve()

  /**
   * Holds layers until the result is disposed of, once no merge is about to take the place of layers.
   *
   * @param find finds the layers as they are then
   * @throws what `find` throws
   */
  async hold<T extends { readonly ids: readonly string[] }>(find: () => T): Promise<T & Disposable> {
    for (let last: unknown; last !== this.#exchange; ) {
      last = this.#exchange
      await this.#exchange
    }
    const found = find()
    for (const id of found.ids) this.#held.set(id, (this.#held.get(id) ?? 0) + 1)
    return { ...found, [Symbol.dispose]: () => this.#end(found.ids) }
  }

  #end(ids: readonly string[]): void {
    for (const id of ids) {
      const left = (this.#held.get(id) as number) - 1
      if (left > 0) this.#held.set(id, left)
      else this.#held.delete(id)
    }
  }

  has(id: string): boolean {
    return this.#held.has(id)
  }

  /** Runs `exchange`, in which a merge takes the place of layers that are not held: nothing is held meanwhile. */
  exchanging<T>(exchange: () => Promise<T>): Promise<T> {
    const done = this.#exchange.then(exchange)
    this.#exchange = done.catch(() => undefined)
    return done
  }
}
