import { OptionError } from '../../overlay-core/index.ts'
import type { Snapshots } from './snapshots.ts'
import type { TemplateView } from './template-view.ts'
import type { BinnedView, ViewBin } from './view-bin.ts'
import type { ViewRecord } from './view-record.ts'

/** What the trash of a template works with. */
export interface TrashParts {
  /** Undefined if nothing of the views is kept. */
  readonly bin: ViewBin | undefined
  readonly views: () => Iterable<TemplateView>
  readonly snapshots: () => Snapshots
  /** Makes a view of the record that `restored` returns, under a name that nobody else gets meanwhile. @throws OptionError naming `view` */
  readonly restore: (name: string, restored: () => Promise<ViewRecord>) => Promise<TemplateView>
  /** Deletes a removed view for good. */
  readonly remove: (view: ViewRecord) => Promise<void>
}

/** The removed views and snapshots of a template that can be restored. */
export class TemplateTrash {
  readonly #parts: TrashParts

  constructor(parts: TrashParts) {
    this.#parts = parts
  }

  /** The removed views. */
  binned(): Iterable<BinnedView> {
    return this.#parts.bin?.list() ?? []
  }

  /** Brings a removed view or snapshot back, under another name if one is given. Returns its path. @throws OptionError naming `view` */
  async restore(id: string, name: string | undefined): Promise<string> {
    const { bin, restore, snapshots } = this.#parts
    const binned = this.#binned(id)
    if (bin && binned) {
      const chosen = name ?? binned.name
      return (await restore(chosen, async () => (await bin.restore(id, chosen)) ?? notThere(id))).path
    }
    const view = this.#withSnapshot(id)
    if (view === undefined) return notThere(id)
    return `${view.path}@${await snapshots().untrash(view, id, name)}`
  }

  /** Deletes a removed view or snapshot for good. @throws OptionError naming `view` */
  async delete(id: string): Promise<void> {
    const { remove, snapshots } = this.#parts
    const binned = this.#binned(id)
    if (binned) return await remove(binned)
    const view = this.#withSnapshot(id)
    if (view) await snapshots().empty(view, id)
  }

  #binned(id: string): ViewRecord | undefined {
    return [...this.binned()].find(({ view }) => view.id === id)?.view
  }

  #withSnapshot(id: string): TemplateView | undefined {
    return [...this.#parts.views()].find(({ record }) => record.trash?.some(({ top }) => top === id))
  }
}

function notThere(id: string): never {
  throw new OptionError('view', `${id} is not in the trash; see overlayd trash list`)
}
