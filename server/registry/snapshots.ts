import { join } from 'node:path'
import { type MountOptions, nearestWord, OptionError, type Overlay } from '../../overlay-core/index.ts'
import type { RandomBytes } from '../random.ts'
import type { FreezeRecord, Snapshot } from './layer-record.ts'
import type { LayerVersions } from './layer-versions.ts'
import type { Squashed, Squashes } from './squashes.ts'
import type { TemplateView } from './template-view.ts'
import { newViewId } from './view-id.ts'
import type { ViewLayers } from './view-layers.ts'

/** The maximum number of lowers of a view, as in the kernel (OVL_MAX_STACK). */
const MOST_LAYERS = 500
/** The longest name of a snapshot, in bytes. */
const LONGEST_NAME = 255

/** What the snapshots of a template work with. */
export interface SnapshotParts {
  readonly layers: ViewLayers
  readonly random: RandomBytes
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  /** The number of layers of the template. */
  readonly below: number
  /** Is told of views whose layers have changed. */
  readonly squashes: Squashes
  /** The error for a view that cannot be changed, for the one who asks. */
  readonly refusal: (name: string, what: string, error: unknown) => OptionError
}

/** What a rollback did. */
export interface RolledBack {
  /** The snapshot of what was there before; undefined if that was let go. */
  readonly aside: Snapshot | undefined
}

/** Where a freeze leads. */
interface FreezeTo {
  readonly name?: string | undefined
  readonly top?: string | null
  readonly versions?: LayerVersions | undefined
  /** That of the view, if the caller uses it already. */
  readonly overlay?: Overlay | undefined
}

/** Takes, removes and returns to snapshots of the views of a template. Each step is durable when it resolves. */
export class Snapshots {
  readonly #parts: SnapshotParts

  constructor(parts: SnapshotParts) {
    this.#parts = parts
  }

  /** Keeps the present content of a view under a name; by default under the time. @throws OptionError naming `view` */
  async take(view: TemplateView, name: string | undefined): Promise<Snapshot> {
    return await this.#changing(view, 'be frozen', async () => {
      const chosen = name ?? this.freeName(view, '')
      this.#refuseName(view, chosen)
      return (await this.#freeze(view, { name: chosen })) as Snapshot
    })
  }

  /**
   * Gives a view the content that it had at a snapshot. What it contains now is kept as a snapshot, unless `drop` is set. In one step: clients see all of the
   * old content or nothing of it.
   *
   * @throws OptionError naming `view`
   */
  async rollback(view: TemplateView, name: string, drop: boolean): Promise<RolledBack> {
    return await this.#changing(view, 'be rolled back', async () => {
      return await this.#putOn(view, this.find(view, name), drop ? undefined : 'before-rollback-')
    })
  }

  /**
   * Takes all changes back: the view contains what the layers of the template contain. What it contains now is kept as a snapshot, unless `drop` is set. In one
   * step, as a rollback.
   *
   * @throws OptionError naming `view`
   */
  async reset(view: TemplateView, drop: boolean): Promise<RolledBack> {
    return await this.#changing(view, 'be reset', async () => {
      return await this.#putOn(view, { top: null }, drop ? undefined : 'before-reset-')
    })
  }

  /** How a snapshot is mounted, read-only. @throws OptionError naming `view` */
  optionsOf(view: TemplateView, name: string): MountOptions {
    const { top, versions } = this.find(view, name)
    return view.lowersOn(this.#parts.layers.paths(top), versions)
  }

  /** Removes a snapshot, and the layers that nothing else needs. @throws OptionError naming `view` */
  async remove(view: TemplateView, name: string): Promise<Snapshot & { readonly released: number }> {
    return await this.#changing(view, 'lose its snapshot', async () => {
      const snapshot = this.find(view, name)
      const released = await this.#parts.layers.remove(view.record, snapshot)
      this.adopt(view)
      this.#parts.squashes.later(view)
      return { ...snapshot, released }
    })
  }

  /** Merges the frozen layers of a view that nothing else needs. @throws OptionError naming `view` */
  async squash(view: TemplateView): Promise<Squashed> {
    try {
      return await this.#parts.squashes.now(view)
    } catch (error) {
      throw this.#parts.refusal(view.record.name, 'be squashed', error)
    }
  }

  /** The snapshot with this name. @throws OptionError naming `view` */
  find(view: TemplateView, name: string): Snapshot {
    const { snapshots = [] } = view.record
    const found = snapshots.find((each) => each.name === name)
    if (found) return found
    const near = nearestWord(
      name,
      snapshots.map((each) => each.name),
    )
    const mend = near === undefined ? `see overlayd snapshots ${view.path}` : `did you mean ${near}?`
    throw new OptionError('view', `${view.path} has no snapshot ${JSON.stringify(name)}; ${mend}`)
  }

  /**
   * Freezes a view without keeping a snapshot, for a caller in the turn of the view (`TemplateView.inTurn`).
   *
   * @param overlay that of the view, if the caller uses it already
   */
  async freezeInTurn(view: TemplateView, overlay?: Overlay): Promise<void> {
    await this.#freeze(view, { overlay })
  }

  /** Whether the view lies on a snapshot, so that removing the snapshot frees nothing. */
  isBelow(view: TemplateView, { top }: Snapshot): boolean {
    return this.#parts.layers.isOn(view.record.top, top)
  }

  /** Gives a view a fresh upper on `top`, as in `#freeze`. What it contained becomes a snapshot whose name begins with `prefix`; without one it is let go. */
  async #putOn(
    view: TemplateView,
    { top, versions }: { readonly top: string | null; readonly versions?: LayerVersions | undefined },
    prefix: string | undefined,
  ): Promise<RolledBack> {
    const name = prefix === undefined ? undefined : this.freeName(view, prefix)
    const aside = await this.#freeze(view, { name, top, versions })
    if (name === undefined) await this.#parts.layers.collect()
    return { aside }
  }

  /**
   * @param to the snapshot that is kept, if any, and the layer on which the fresh upper lies: by default the frozen one; null: those of the template, at `versions`
   *   if they are other ones
   */
  async #freeze(view: TemplateView, to: FreezeTo): Promise<Snapshot | undefined> {
    const { layers, random, wallNow } = this.#parts
    const { id, top: below, versions } = view.record
    this.#refuseDepth(view, to.top)
    const layer = { id: newViewId(random), below }
    const kept = { top: layer.id, createdMs: wallNow(), ...(versions && { versions }) }
    const snapshot = to.name === undefined ? undefined : { name: to.name, ...kept }
    const top = to.top === undefined ? layer.id : (to.top ?? undefined)
    const record: FreezeRecord = { view: id, layer, top, snapshot, ...(to.versions && { versions: to.versions }) }
    const directory = await layers.prepare(record)
    try {
      const frozen = to.top === undefined ? [join(directory, 'upper'), ...layers.paths(below)] : layers.paths(top)
      const onVersions = to.versions ? { ...view.record, versions: to.versions } : view.record
      await view.freeze(directory, frozen, { record: onVersions, overlay: to.overlay })
    } catch (error) {
      await layers.abandon(record)
      this.adopt(view)
      throw error
    }
    await layers.frozen(record).finally(() => this.adopt(view))
    this.#parts.squashes.later(view)
    return snapshot
  }

  /** Takes over what the registry says of the view now. */
  adopt(view: TemplateView): void {
    view.record = this.#parts.layers.present(view.record)
  }

  #refuseDepth(view: TemplateView, top: string | null | undefined): void {
    const { layers, below } = this.#parts
    if (top !== undefined || layers.paths(view.record.top).length + below < MOST_LAYERS) return
    throw new OptionError(
      'view',
      `${view.path} has ${MOST_LAYERS} layers with those of the template, the most that an overlay can have; remove snapshots that nobody needs, then say overlayd squash ${view.path}`,
    )
  }

  #refuseName(view: TemplateView, name: string): void {
    if (name === '' || /[/@\p{Cc}]/u.test(name) || name.startsWith('.') || name.startsWith('-'))
      throw new OptionError(
        'view',
        `${JSON.stringify(name)} cannot name a snapshot; use letters, digits and signs except / and @, not beginning with . or -`,
      )
    if (Buffer.byteLength(name) > LONGEST_NAME)
      throw new OptionError('view', `the name of the snapshot is longer than ${LONGEST_NAME} bytes; use a shorter one`)
    if (view.record.snapshots?.some((each) => each.name === name))
      throw new OptionError('view', `${view.path}@${name} exists already; choose another name`)
  }

  /** A name made of the time that no snapshot of the view has. */
  freeName(view: TemplateView, prefix: string): string {
    const time = new Date(this.#parts.wallNow()).toISOString().slice(0, 19).replaceAll(':', '')
    const taken = new Set(view.record.snapshots?.map(({ name }) => name))
    for (let count = 1; ; count++) {
      const name = `${prefix}${time}${count === 1 ? '' : `-${count}`}`
      if (!taken.has(name)) return name
    }
  }

  async #changing<T>(view: TemplateView, what: string, change: () => Promise<T>): Promise<T> {
    try {
      return await view.inTurn(change)
    } catch (error) {
      throw this.#parts.refusal(view.record.name, what, error)
    }
  }
}
