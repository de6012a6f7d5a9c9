/** Work for several callers at a time: who comes while a turn runs gets the next one, together with all others that came. */
export class SharedTurns<T> {
  readonly #work: (items: ReadonlySet<T>) => Promise<void>
  #running: Promise<void> | undefined
  #next: { readonly items: Set<T>; readonly done: Promise<void> } | undefined

  /** `work` does one turn. */
  constructor(work: (items: ReadonlySet<T>) => Promise<void>) {
    this.#work = work
  }

  /** Resolves when a turn that began after this call has done `items`. @throws the error of that turn */
  add(items: Iterable<T>): Promise<void> {
    const next = this.#next ?? this.#begin()
    for (const item of items) next.items.add(item)
    return next.done
  }

  #begin(): { readonly items: Set<T>; readonly done: Promise<void> } {
    const items = new Set<T>()
    const before = this.#running?.catch(() => undefined) ?? Promise.resolve()
    const done = before.then(() => {
      this.#next = undefined
      return this.#work(items)
    })
    this.#running = done
    this.#next = { items, done }
    return this.#next
  }
}
