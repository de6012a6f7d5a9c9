import { foldedName } from './view-name.ts'
import type { ViewRecord } from './view-record.ts'

/** The views of a template in memory, by id and by name, for a registry. Names that differ at most in case or Unicode form are one name. */
export abstract class ViewIndex {
  readonly #byId = new Map<string, ViewRecord>()
  /** By folded name. */
  readonly #byName = new Map<string, ViewRecord>()
  /** The ids of views by the layers of their snapshots. */
  readonly #bySnapshot = new Map<string, string>()
  #lastOrder = 0

  get size(): number {
    return this.#byId.size
  }

  byId(id: string): ViewRecord | undefined {
    return this.#byId.get(id)
  }

  /** The view with exactly this name. */
  byName(name: string): ViewRecord | undefined {
    const found = this.alike(name)
    return found?.name === name ? found : undefined
  }

  /** The view whose name differs from this at most in case or Unicode form. */
  alike(name: string): ViewRecord | undefined {
    return this.#byName.get(foldedName(name))
  }

  /** The view of which the layer with this id is a snapshot. */
  bySnapshot(top: string): ViewRecord | undefined {
    return this.#byId.get(this.#bySnapshot.get(top) ?? '')
  }

  /** All views, by their order. */
  list(): Iterable<ViewRecord> {
    return this.#byId.values()
  }

  /** An order that no view has had. */
  nextOrder(): number {
    return ++this.#lastOrder
  }

  /** No view gets this order, or a lower one, any more. */
  protected pastOrder(order: number): void {
    this.#lastOrder = Math.max(this.#lastOrder, order)
  }

  /** Adds a view, or puts it in the place of the one with its id, whose name stays taken. */
  protected put(view: ViewRecord): void {
    this.#dropSnapshots(view.id)
    for (const { top } of view.snapshots ?? []) this.#bySnapshot.set(top, view.id)
    this.#byId.set(view.id, view)
    this.#byName.set(foldedName(view.name), view)
    this.pastOrder(view.order)
  }

  /** Makes a view unknown; its name stays taken. */
  protected dropId(id: string): void {
    this.#dropSnapshots(id)
    this.#byId.delete(id)
  }

  #dropSnapshots(id: string): void {
    for (const { top } of this.#byId.get(id)?.snapshots ?? []) this.#bySnapshot.delete(top)
  }

  /** Lets another view have a name. */
  protected freeName(name: string): void {
    this.#byName.delete(foldedName(name))
  }
}
