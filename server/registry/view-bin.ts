import type { RegistryLine, ViewRecord } from './view-record.ts'

/** A removed view that can still be restored. */
export interface BinnedView {
  readonly view: ViewRecord
  /** In ms since the epoch. */
  readonly removedMs: number
}

/** What the bin needs of the registry that it belongs to. */
export interface BinParts {
  /** Makes a view unknown, and frees its name. */
  takeOut(view: ViewRecord): void
  put(view: ViewRecord): void
  append(line: RegistryLine): Promise<void>
}

/** The removed views of a template whose directories are still there. Nobody reaches them, and their names can be used again. */
export class ViewBin {
  readonly #parts: BinParts
  readonly #views = new Map<string, BinnedView>()

  constructor(parts: BinParts) {
    this.#parts = parts
  }

  get size(): number {
    return this.#views.size
  }

  has(id: string): boolean {
    return this.#views.has(id)
  }

  list(): Iterable<BinnedView> {
    return this.#views.values()
  }

  /** Removes a view, so that it can be restored. It is durable then. */
  async take(view: ViewRecord, removedMs: number): Promise<void> {
    await this.#parts.append({ kind: 'binned', id: view.id, atMs: removedMs })
    this.replayTake(view, removedMs)
  }

  /** Restores a view under a name that is free. It is durable then. */
  async restore(id: string, name: string): Promise<ViewRecord | undefined> {
    if (!this.#views.has(id)) return undefined
    await this.#parts.append({ kind: 'unbinned', id, name })
    return this.replayRestore(id, name)
  }

  /** Takes a view out that is deleted for good. */
  drop(id: string): BinnedView | undefined {
    const found = this.#views.get(id)
    this.#views.delete(id)
    return found
  }

  replayTake(view: ViewRecord, removedMs: number): void {
    this.#parts.takeOut(view)
    this.#views.set(view.id, { view, removedMs })
  }

  replayRestore(id: string, name: string): ViewRecord | undefined {
    const found = this.drop(id)
    if (found === undefined) return undefined
    const view = { ...found.view, name }
    this.#parts.put(view)
    return view
  }
}
