import { join } from 'node:path'
import { makeDirectory } from '../make-directory.ts'
import type { Snapshot } from './layer-record.ts'
import { type ListedSnapshot, SnapshotListing } from './snapshot-listing.ts'
import { TemplateView } from './template-view.ts'
import type { ViewLayers } from './view-layers.ts'
import type { ViewPlan } from './view-plan.ts'

/** The name that leads from the root of a view to its snapshots. Listings do not show it. */
export const SNAPSHOT_DIRECTORY = '.snapshot'
/** What distinguishes the number of the directory of snapshots from that of its view. */
const MASK = 0x5eed_5a9b_0d1c_7e42n
/** The directory of the file handles of a snapshot, in that of its layer. */
const HANDLES = 'handles'

/** What the snapshots of a template need from it. */
export interface SnapshotViewsParts {
  readonly plan: ViewPlan
  readonly layers: ViewLayers
  readonly byId: (id: string) => TemplateView | undefined
  /** The view of which the layer with this id is a snapshot. */
  readonly bySnapshot: (top: string) => TemplateView | undefined
}

/** The snapshots of the views of a template as clients see them: opened when they are used, read-only, and closed when they are idle. */
export class SnapshotViews {
  readonly #parts: SnapshotViewsParts
  readonly #byLayer = new Map<string, TemplateView>()
  readonly #listings = new WeakMap<TemplateView, SnapshotListing>()

  constructor(parts: SnapshotViewsParts) {
    this.#parts = parts
    parts.layers.beforeDelete = (ids) => this.forget(ids)
    parts.layers.beforeMerge = (ids) => this.reopen(ids)
  }

  /** The view to which an id belongs: that of its directory of snapshots, or of one of them. */
  viewWith(id: string): TemplateView | undefined {
    const { byId, bySnapshot } = this.#parts
    return byId(listingId(id)) ?? bySnapshot(id)
  }

  /** A snapshot of a view. */
  of(view: TemplateView, { top, name, createdMs, versions }: Snapshot): TemplateView {
    const { uid, gid, order } = view.record
    const known = this.#byLayer.get(top)
    if (known) return known
    const record = { id: top, name: `${view.record.name}@${name}`, uid, gid, order, createdMs, top }
    const made = new TemplateView(record, {
      ...this.#parts.plan,
      optionsOf: () => view.lowersOn(this.#parts.layers.paths(top), versions),
      handleDirectory: () => this.#handleDirectory(top),
      limits: () => undefined,
      projectLimits: () => undefined,
      settle: () => undefined,
      beforeUse: async () => undefined,
      users: undefined,
    })
    this.#byLayer.set(top, made)
    return made
  }

  /** The directory of the snapshots of a view. */
  listing(view: TemplateView): SnapshotListing {
    const known = this.#listings.get(view)
    if (known) return known
    const made = new SnapshotListing({
      id: listingId(view.record.id),
      options: view.lowersOn([]),
      owner: () => view.record,
      list: () => snapshotsOf(view),
    })
    this.#listings.set(view, made)
    return made
  }

  /** Closes those on layers that nothing needs any more; their handles become stale. */
  async forget(layers: readonly string[]): Promise<void> {
    for (const id of layers) {
      const view = this.#byLayer.get(id)
      this.#byLayer.delete(id)
      await view?.remove()
    }
  }

  /** Closes those that lie on these layers; the next use opens them as they are then. */
  async reopen(layers: readonly string[]): Promise<void> {
    for (const [top, view] of [...this.#byLayer])
      if (this.#parts.layers.idsOf(top).some((id) => layers.includes(id))) await view.end()
  }

  async #handleDirectory(top: string): Promise<string> {
    const path = join(this.#parts.layers.directoryOf(top), HANDLES)
    await makeDirectory(path)
    return path
  }
}

/** The snapshot of a view with this name. */
export function snapshotNamed(view: TemplateView, name: string): Snapshot | undefined {
  return view.record.snapshots?.find((each) => each.name === name)
}

/** The snapshots of a view for its directory. */
export function snapshotsOf(view: TemplateView): readonly ListedSnapshot[] {
  return (view.record.snapshots ?? []).map(({ name, top, createdMs }) => ({ name, id: top, createdMs }))
}

/** The id of the directory of the snapshots of a view; applied twice it is the id of the view. */
export function listingId(id: string): string {
  return (BigInt(`0x${id}`) ^ MASK).toString(16).padStart(16, '0')
}
