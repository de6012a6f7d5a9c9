import { join } from 'node:path'
import type { Logger } from 'pino'
import { settleFreeze } from '../../overlay-core/index.ts'
import { isThere } from '../make-directory.ts'
import { LayerHolds } from './layer-holds.ts'
import type { FreezeRecord, LayerRecord, Snapshot } from './layer-record.ts'
import { LayerStore } from './layer-store.ts'
import { writeRecord } from './view-directory.ts'
import type { LayerLine, RegistryLine, ViewRecord } from './view-record.ts'

/** What the layers need of the registry that they belong to. */
export interface LayerParts {
  /** The directory of the template. */
  readonly directory: string
  readonly log: Logger
  byId(id: string): ViewRecord | undefined
  list(): Iterable<ViewRecord>
  /** Puts a view in the place of the one with its id, in memory. */
  replace(view: ViewRecord): void
  append(line: RegistryLine): Promise<void>
}

/**
 * The frozen layers and snapshots of the views of a template. A layer may belong to several views and snapshots; it is deleted when none of them has it any
 * more. The rename of an upper to its layer decides whether a crash undoes a freeze or finishes it, whatever the registry says.
 */
export class ViewLayers {
  readonly #parts: LayerParts
  readonly #store: LayerStore
  /** The layers that something reads beside their view. */
  readonly holds = new LayerHolds()
  /** Closes what uses layers, before they are deleted. */
  beforeDelete: (ids: readonly string[]) => Promise<void> | undefined = () => undefined
  /** Closes snapshots that lie on layers, before these are merged and when others have taken their place. */
  beforeMerge: (ids: readonly string[]) => Promise<void> | undefined = () => undefined
  #collecting: Promise<void> = Promise.resolve()

  constructor(parts: LayerParts) {
    this.#parts = parts
    this.#store = new LayerStore(parts.directory)
  }

  get size(): number {
    return this.#store.size
  }

  get records(): Iterable<LayerRecord> {
    return this.#store.records
  }

  /** The paths of the layers of a view whose topmost frozen layer is `top`, topmost first. */
  paths(top: string | undefined): string[] {
    return this.#store.paths(top)
  }

  /** The ids of these layers. */
  idsOf(top: string | undefined): string[] {
    return this.#store.chain(top)
  }

  /** Whether `top` is the layer `id` or lies on it. */
  isOn(top: string | undefined, id: string): boolean {
    return this.#store.chain(top).includes(id)
  }

  /** The record of a view as the registry has it now. */
  present(view: ViewRecord): ViewRecord {
    return this.#parts.byId(view.id) ?? view
  }

  /** Takes a line of the registry into account. */
  replay(line: LayerLine): void {
    if (line.kind === 'layer') this.#store.put(line.layer)
    else if (line.kind === 'frozen') this.#apply(line)
    else if (line.kind === 'forgotten') this.#forget(line.id, line.name)
    else if (line.kind === 'trashed') this.#trash(line.id, line.name, line.atMs)
    else if (line.kind === 'untrashed') this.#untrash(line.id, line.top, line.name)
    else this.#empty(line.id, line.top)
  }

  /** Removes a snapshot, so that it can be restored. */
  async trash({ id }: ViewRecord, { name }: Snapshot, atMs: number): Promise<void> {
    await this.#parts.append({ kind: 'trashed', id, name, atMs })
    await this.#saved(this.#trash(id, name, atMs))
  }

  /** Restores a removed snapshot under a name that the view does not use. */
  async untrash({ id }: ViewRecord, { top }: Snapshot, name: string): Promise<void> {
    await this.#parts.append({ kind: 'untrashed', id, top, name })
    await this.#saved(this.#untrash(id, top, name))
  }

  /** Removes a removed snapshot for good. @returns the number of layers that are deleted */
  async empty({ id }: ViewRecord, { top }: Snapshot): Promise<number> {
    await this.#parts.append({ kind: 'emptied', id, top })
    await this.#saved(this.#empty(id, top))
    const count = this.#unneeded().length
    await this.collect()
    return count
  }

  /** Finishes and undoes what a crash has interrupted, and deletes what nothing needs. */
  async recover(): Promise<void> {
    const { log } = this.#parts
    await this.#recoverMerges()
    for (const record of await this.#store.unknown()) {
      const directory = this.#store.directoryOf(record.layer.id)
      try {
        if (await this.#settle(record, directory)) await this.#takeIn(record)
        else await this.#store.delete(record.layer.id)
      } catch (error) {
        log.error(
          { err: error, directory },
          'an interrupted freeze of a view could not be finished; it is tried at the next start',
        )
      }
    }
    await this.collect()
  }

  /**
   * The groups of adjacent layers of a view that can be merged, topmost first in each: only this view has them, and below the first of a group nothing else
   * names one of them: no snapshot, no fork, no layer besides. Layers that are held are in none.
   */
  groups(view: ViewRecord): string[][] {
    const groups: string[][] = []
    const [owners, named] = this.#uses()
    for (const id of this.#store.chain(view.top)) {
      const own = owners.get(id) === view.id && !this.holds.has(id)
      const above = groups.at(-1)
      if (own && above !== undefined && !named.has(id) && this.#store.below(above.at(-1)) === id) above.push(id)
      else if (own) groups.push([id])
    }
    return groups.filter((group) => group.length > 1)
  }

  /** Whether a squash of the view leaves layers alone because something reads them. */
  isHeld({ top }: ViewRecord): boolean {
    return this.#store.chain(top).some((id) => this.holds.has(id))
  }

  /** The paths of `group` in the options of a mount. */
  pathsOf(group: readonly string[]): string[] {
    return group.map((id) => this.#store.pathOf(id))
  }

  /** The directory of a layer. */
  directoryOf(id: string): string {
    return this.#store.directoryOf(id)
  }

  /** Makes the directory of the merge of `group`. */
  async prepareMerge(group: readonly string[]): Promise<string> {
    const [id = ''] = group
    await this.beforeMerge(group)
    // After an error of the disk the registry does not know an earlier merge.
    if (await isThere(this.#store.mergeOf(id)))
      await this.#parts.append({ kind: 'layer', layer: { id, below: this.#store.below(id) } })
    return await this.#store.prepareMerge(id, this.#store.below(group.at(-1)))
  }

  /** The merge of `group` has taken the place of its topmost layer. @throws the error of the disk: the registry does not say so yet, but the next start finds it out */
  async merged(group: readonly string[]): Promise<void> {
    const [id = ''] = group
    const layer = { id, below: this.#store.below(group.at(-1)) }
    this.#store.put(layer)
    await this.beforeMerge(group)
    await this.#parts.append({ kind: 'layer', layer })
  }

  /** Deletes the layers that a merge has replaced. */
  async deleteMerged([id = '']: readonly string[]): Promise<void> {
    await this.collect()
    await this.#store.deleteMerge(id)
  }

  /** Deletes the merge of `group`, which was not adopted. */
  async abandonMerge([id = '']: readonly string[]): Promise<void> {
    await this.#store.deleteMerge(id)
  }

  /** Which view has each layer alone, and which layers are named by anything besides the one layer above them. */
  #uses(): [owners: Map<string, string | undefined>, named: Set<string>] {
    const owners = new Map<string, string | undefined>()
    const named = new Set<string>()
    for (const { id: view, top, snapshots = [], trash = [] } of this.#parts.list()) {
      for (const each of [top, ...[...snapshots, ...trash].map((snapshot) => snapshot.top)]) {
        if (each !== undefined) named.add(each)
        for (const id of this.#store.chain(each)) owners.set(id, owners.has(id) && owners.get(id) !== view ? '' : view)
      }
    }
    const on = new Set<string>()
    for (const { below } of this.#store.records) {
      if (below === undefined) continue
      if (on.has(below)) named.add(below)
      on.add(below)
    }
    return [owners, named]
  }

  /** What a crash left of merges: the registry may not know yet that a merge has taken the place of a layer. */
  async #recoverMerges(): Promise<void> {
    for (const layer of await this.#store.merged()) {
      try {
        if (this.#store.has(layer.id) && this.#store.below(layer.id) !== layer.below) {
          this.#store.put(layer)
          await this.#parts.append({ kind: 'layer', layer })
        }
        await this.#store.deleteMerge(layer.id)
      } catch (error) {
        const directory = this.#store.mergeOf(layer.id)
        this.#parts.log.error(
          { err: error, directory },
          'what is left of a squash could not be deleted; it is tried at the next start',
        )
      }
    }
  }

  /** Makes the directory of a new layer; the upper of a view can be frozen into it then. */
  prepare(record: FreezeRecord): Promise<string> {
    return this.#store.prepare(record)
  }

  /** The upper was frozen. @throws the error of the disk: the registry does not say so yet, but the next start finds it out */
  async frozen(record: FreezeRecord): Promise<void> {
    const view = this.#apply(record)
    await this.#parts.append({ kind: 'frozen', ...record })
    if (view) await this.#saveCopy(view)
  }

  /** The upper was not frozen: deletes what was prepared. */
  async abandon(record: FreezeRecord): Promise<void> {
    const directory = this.#store.directoryOf(record.layer.id)
    if (await this.#settle(record, directory)) await this.frozen(record)
    else await this.#store.delete(record.layer.id)
  }

  /** Removes a snapshot. @returns the number of layers that nothing needs any more and that are deleted */
  async remove(view: ViewRecord, { name }: Snapshot): Promise<number> {
    await this.#parts.append({ kind: 'forgotten', id: view.id, name })
    const left = this.#forget(view.id, name)
    if (left) await this.#saveCopy(left)
    const count = this.#unneeded().length
    await this.collect()
    return count
  }

  /** Deletes the layers that no view and no snapshot needs. What cannot be deleted now is tried at the next start. */
  collect(): Promise<void> {
    this.#collecting = this.#collecting.then(async () => {
      const unneeded = this.#unneeded()
      await this.beforeDelete(unneeded)
      for (const id of unneeded) {
        try {
          await this.#store.delete(id)
        } catch (error) {
          this.#parts.log.warn({ err: error, directory: this.#store.directoryOf(id) }, 'a layer could not be deleted')
        }
      }
    })
    return this.#collecting
  }

  #unneeded(): string[] {
    const needed = new Set<string>()
    for (const { top, snapshots = [], trash = [] } of this.#parts.list()) {
      for (const each of [top, ...[...snapshots, ...trash].map((snapshot) => snapshot.top)])
        for (const id of this.#store.chain(each)) needed.add(id)
    }
    return Array.from(this.#store.records, ({ id }) => id).filter((id) => !needed.has(id))
  }

  async #settle({ view }: FreezeRecord, directory: string): Promise<boolean> {
    const own = join(this.#parts.directory, view)
    if (!(await isThere(join(own, 'work')))) return await isThere(join(directory, 'upper'))
    return await settleFreeze({ upperdir: join(own, 'upper'), workdir: join(own, 'work'), directory })
  }

  /** Takes in a layer that the registry does not know: the server was killed after the freeze, or the registry was damaged. */
  async #takeIn(record: FreezeRecord): Promise<void> {
    const view = this.#parts.byId(record.view)
    // Later freezes of the view are known: only the layer is missing.
    const isLast = view?.top === record.layer.below
    const has = view?.snapshots?.some(({ name }) => name === record.snapshot?.name)
    const { view: id, layer } = record
    await this.frozen({
      ...(isLast ? record : { view: id, layer, top: view?.top }),
      snapshot: has ? undefined : record.snapshot,
    })
  }

  #apply({ view, layer, top, snapshot, versions, rebased }: FreezeRecord): ViewRecord | undefined {
    this.#store.put(layer)
    const before = this.#parts.byId(view)
    if (!before) return undefined
    const snapshots = snapshot ? [...(before.snapshots ?? []), snapshot] : before.snapshots
    const after: ViewRecord = {
      ...{ ...before, top, snapshots },
      ...(versions && { versions }),
      ...(rebased && { rebased: layer.id, due: undefined }),
    }
    this.#parts.replace(after)
    return after
  }

  #forget(id: string, name: string): ViewRecord | undefined {
    return this.#change(id, ({ snapshots }) => ({ snapshots: snapshots?.filter((each) => each.name !== name) }))
  }

  #trash(id: string, name: string, removedMs: number): ViewRecord | undefined {
    return this.#change(id, ({ snapshots = [], trash = [] }) => {
      const found = snapshots.find((each) => each.name === name)
      const left = snapshots.filter((each) => each !== found)
      return { snapshots: left, trash: found ? [...trash, { ...found, removedMs }] : trash }
    })
  }

  #untrash(id: string, top: string, name: string): ViewRecord | undefined {
    return this.#change(id, ({ snapshots = [], trash = [] }) => {
      const found = trash.find((each) => each.top === top)
      const left = trash.filter((each) => each !== found)
      if (!found) return {}
      const { removedMs: _, ...kept } = found
      return { trash: left, snapshots: [...snapshots, { ...kept, name }] }
    })
  }

  #empty(id: string, top: string): ViewRecord | undefined {
    return this.#change(id, ({ trash = [] }) => ({ trash: trash.filter((each) => each.top !== top) }))
  }

  #change(id: string, change: (before: ViewRecord) => Partial<ViewRecord>): ViewRecord | undefined {
    const before = this.#parts.byId(id)
    if (!before) return undefined
    const after = { ...before, ...change(before) }
    this.#parts.replace(after)
    return after
  }

  async #saved(view: ViewRecord | undefined): Promise<void> {
    if (view) await this.#saveCopy(view)
  }

  /** The registry decides; the copy in the directory of the view is only for a registry that was lost. */
  async #saveCopy(view: ViewRecord): Promise<void> {
    await writeRecord(join(this.#parts.directory, view.id), view).catch((error) =>
      this.#parts.log.warn({ err: error, view: view.name }, 'the layers of a view were not saved in its directory'),
    )
  }
}
