import { join } from 'node:path'
import type { TemplateSettings } from '../../config/index.ts'
import {
  type FreshUpper,
  isErrno,
  type MountOptions,
  nearestWord,
  OptionError,
  type Overlay,
} from '../../overlay-core/index.ts'
import type { RandomBytes } from '../random.ts'
import type { FreezeRecord, Snapshot } from './layer-record.ts'
import type { LayerVersions } from './layer-versions.ts'
import type { Squashed, Squashes } from './squashes.ts'
import { stageUpper } from './staged-upper.ts'
import type { TemplateView } from './template-view.ts'
import { newViewId } from './view-id.ts'
import type { ViewLayers } from './view-layers.ts'

/** The maximum number of lowers of a view, as in the kernel (OVL_MAX_STACK). */
const MOST_LAYERS = 500
/** The longest name of a snapshot, in bytes. */
const LONGEST_NAME = 255
/** The beginning of the name of what was let go of and is in the trash. */
const DROPPED = 'dropped-'
/** How many times a change is made that clients of the view disturb. */
const MOST_ROUNDS = 5

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
  /** How long what is removed can be restored; 0: not at all. */
  readonly trashMs: number
  /** The error for a view that cannot be changed, for the one who asks. */
  readonly refusal: (name: string, what: string, error: unknown) => OptionError
}

/** What the snapshots of a template that may keep nothing of its views work with. */
type OpenSnapshotsParts = Pick<SnapshotParts, 'random' | 'wallNow' | 'refusal'> & {
  readonly layers: ViewLayers | undefined
  readonly squashes: Squashes | undefined
}

/** The snapshots of the views of a template. @throws OptionError naming `view`: nothing of these views is kept */
export function openSnapshots(
  template: string,
  { mount, trashMs = 0, quotaBy }: TemplateSettings,
  { layers, squashes, ...parts }: OpenSnapshotsParts,
): Snapshots {
  if (layers === undefined || squashes === undefined)
    throw new OptionError('view', `the views of ${template} end with their use, so they have no snapshots`)
  // A directory cannot be moved out of its project.
  if (quotaBy === 'filesystem')
    throw new OptionError('view', `views.${template}.quota_by is "filesystem"; snapshots need "server"`)
  return new Snapshots({ ...parts, layers, squashes, below: mount.lowerdir.length, trashMs })
}

/** What a rollback did. */
export interface RolledBack {
  /** The snapshot of what was there before; undefined if that was let go. */
  readonly aside: Snapshot | undefined
}

/** Frozen layers of a view that stay where they are. */
export interface HeldLayers extends Disposable {
  readonly options: MountOptions
}

/** Where a freeze leads. */
interface FreezeTo {
  readonly name?: string | undefined
  readonly top?: string | null
  readonly versions?: LayerVersions | undefined
  /** That of the view, if the caller uses it already. */
  readonly overlay?: Overlay | undefined
  readonly stage?: (directory: string) => Promise<FreshUpper>
}

/** A change of a view that needs an upper with content. */
export interface StagedChange {
  /** The beginning of the name of the snapshot of what was there before; undefined if that is let go. */
  readonly prefix: string | undefined
  /** What lies below the new upper: the present content, or the layers of the template alone. */
  readonly on: 'present' | 'template'
  /** The paths at which the new upper differs from what is below it. */
  readonly paths: FreshUpper['paths']
  /** Fills the new upper. `before` is how the present content is mounted, read-only. */
  readonly fill: (stage: Overlay, before: MountOptions) => Promise<void>
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
   * step, as a rollback. See `resetByRules` for templates with rules.
   *
   * @throws OptionError naming `view`
   */
  async reset(view: TemplateView, drop: boolean): Promise<RolledBack> {
    return await this.#changing(view, 'be reset', async () => {
      return await this.#putOn(view, { top: null }, drop ? undefined : 'before-reset-')
    })
  }

  /**
   * How a snapshot, or without a name what is frozen of the view now, is mounted read-only. Until the result is disposed of, no squash merges these layers.
   *
   * @throws OptionError naming `view`
   */
  async hold(view: TemplateView, name?: string): Promise<HeldLayers> {
    const { layers, squashes } = this.#parts
    const held = await layers.holds.hold(() => {
      const { top, versions } = name === undefined ? view.record : this.find(view, name)
      return { ids: layers.idsOf(top), options: view.lowersOn(layers.paths(top), versions) }
    })
    const end = () => {
      held[Symbol.dispose]()
      squashes.released(view)
    }
    return { options: held.options, [Symbol.dispose]: end }
  }

  /**
   * Removes a snapshot. It goes to the trash of the template, if there is one; with `forGood` it is deleted, with the layers that nothing else needs.
   *
   * @throws OptionError naming `view`
   */
  async remove(
    view: TemplateView,
    name: string,
    { forGood = false }: { readonly forGood?: boolean } = {},
  ): Promise<Snapshot & { readonly released: number }> {
    return await this.#changing(view, 'lose its snapshot', async () => {
      const snapshot = this.find(view, name)
      const { layers, trashMs, wallNow } = this.#parts
      const keeps = trashMs > 0 && !forGood
      const released = keeps ? 0 : await layers.remove(view.record, snapshot)
      if (keeps) await layers.trash(view.record, snapshot, wallNow())
      this.adopt(view)
      this.#parts.squashes.later(view)
      await layers.beforeDelete([snapshot.top])
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

  /** Brings a removed snapshot back. Returns its name. @throws OptionError naming `view` */
  async untrash(view: TemplateView, top: string, name: string | undefined): Promise<string> {
    return await this.#changing(view, 'get its snapshot back', async () => {
      const removed = view.record.trash?.find((each) => each.top === top)
      if (removed === undefined) throw new OptionError('view', `${top} is not in the trash; see overlayd trash list`)
      const chosen = name ?? removed.name
      this.#refuseName(view, chosen)
      await this.#parts.layers.untrash(view.record, removed, chosen)
      this.adopt(view)
      return chosen
    })
  }

  /** Deletes a removed snapshot for good. @throws OptionError naming `view` */
  async empty(view: TemplateView, top: string): Promise<void> {
    await this.#changing(view, 'lose its snapshot', async () => {
      const removed = view.record.trash?.find((each) => each.top === top)
      if (removed) await this.#parts.layers.empty(view.record, removed)
      this.adopt(view)
    })
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

  /**
   * Changes a view to what `fill` makes, in one step for its clients. It is made on a frozen copy of the present content; if a client changes something at `paths`
   * meanwhile, it is made again.
   *
   * @param what for messages: `be reset`
   * @throws OptionError naming `view`
   */
  async change(view: TemplateView, what: string, change: StagedChange): Promise<RolledBack> {
    return await this.#changing(view, what, async () => {
      for (let round = 1; ; round++) {
        await this.#freeze(view, {})
        try {
          return { aside: await this.#settle(view, change.prefix, await this.#freezeFor(view, change)) }
        } catch (error) {
          if (!isErrno(error, 'EBUSY')) throw error
          if (round === MOST_ROUNDS)
            throw new OptionError(
              'view',
              `clients of ${view.path} change these paths all the time; stop them, or try again`,
            )
        }
      }
    })
  }

  async #freezeFor(view: TemplateView, { prefix, on, paths, fill }: StagedChange): Promise<Snapshot | undefined> {
    const { layers } = this.#parts
    const present = layers.paths(view.record.top)
    const name = this.#nameOf(view, prefix)
    return await this.#freeze(view, {
      ...(on === 'template' && { top: null }),
      name,
      stage: async (directory) => {
        const frozen = on === 'present' ? present : []
        const before = view.lowersOn(present)
        await stageUpper({ directory, options: view.options, frozen }, (stage) => fill(stage, before))
        return { paths }
      },
    })
  }

  /** Gives a view a fresh upper on `top`, as in `#freeze`. What it contained becomes a snapshot whose name begins with `prefix`; without one it is let go. */
  async #putOn(
    view: TemplateView,
    { top, versions }: { readonly top: string | null; readonly versions?: LayerVersions | undefined },
    prefix: string | undefined,
  ): Promise<RolledBack> {
    const aside = await this.#freeze(view, { name: this.#nameOf(view, prefix), top, versions })
    return { aside: await this.#settle(view, prefix, aside) }
  }

  /** The name of the snapshot of what a change takes away; undefined if it can be deleted at once. */
  #nameOf(view: TemplateView, prefix: string | undefined): string | undefined {
    if (prefix !== undefined) return this.freeName(view, prefix)
    return this.#parts.trashMs > 0 ? this.freeName(view, DROPPED) : undefined
  }

  /** Lets go of what a change has taken away, unless that is kept as a snapshot, which is returned. */
  async #settle(
    view: TemplateView,
    prefix: string | undefined,
    taken: Snapshot | undefined,
  ): Promise<Snapshot | undefined> {
    if (prefix !== undefined) return taken
    const { layers, wallNow } = this.#parts
    if (taken) await layers.trash(view.record, taken, wallNow())
    else await layers.collect()
    this.adopt(view)
    return undefined
  }

  /**
   * @param to the snapshot that is kept, if any, and the layer on which the fresh upper lies: by default the frozen one; null: those of the template, at `versions`
   *   if they are other ones. `stage` makes the fresh upper in the directory of the layer
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
      const prepared = (await to.stage?.(directory)) ?? false
      await view.freeze(directory, frozen, { record: onVersions, overlay: to.overlay, prepared })
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
