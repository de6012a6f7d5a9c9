import { join } from 'node:path'
import {
  type BaseChanges,
  buildUpper,
  isErrno,
  OptionError,
  type Overlay,
  outcomesOf,
  type PathOutcome,
  type StrategyOf,
} from '../../overlay-core/index.ts'
import type { RandomBytes } from '../random.ts'
import { deleteTree } from '../registry/delete-tree.ts'
import type { FreezeRecord } from '../registry/layer-record.ts'
import type { LayerVersions } from '../registry/layer-versions.ts'
import type { Snapshots } from '../registry/snapshots.ts'
import type { TemplateView } from '../registry/template-view.ts'
import { newViewId } from '../registry/view-id.ts'
import type { ViewLayers } from '../registry/view-layers.ts'
import { ADMIN, type BasePairs } from './base-pairs.ts'
import { type KeptReport, saveReport } from './conflict-file.ts'
import { NO_COUNTS, type RebaseReport, summaryOf } from './report.ts'

/** So often a view is tried while its clients go on changing it, and then while they wait. */
const TRIES_WITH_CLIENTS = 3
const TRIES_ALONE = 5
/** The directory in which an upper is built, in that of its layer. */
const BUILDING = 'building'

/** What the rebases of a template work with. */
export interface RebaseParts {
  readonly layers: ViewLayers
  readonly snapshots: Snapshots
  readonly random: RandomBytes
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  /** The directory of the template. */
  readonly directory: string
  /** The versions on which views that are made now lie; undefined: the template names all versions itself, or has none. */
  readonly newest: () => LayerVersions | undefined
  readonly strategyOf: StrategyOf
  /** The error for a view that cannot be changed, for the one who asks. */
  readonly refusal: (name: string, what: string, error: unknown) => OptionError
}

/** A rebase that was begun, for an overlay that cannot be closed meanwhile. */
interface Begun {
  readonly view: TemplateView
  readonly overlay: Overlay
  readonly changes: BaseChanges
  readonly from: LayerVersions
  readonly to: LayerVersions
}

/** Puts views of a template on the newest versions of its layers. Before, what they contain becomes a snapshot on the old versions. */
export class Rebases {
  readonly #parts: RebaseParts

  constructor(parts: RebaseParts) {
    this.#parts = parts
  }

  /** What would come of a view; nothing is changed. @throws OptionError naming `view` */
  async report(view: TemplateView, bases: BasePairs): Promise<RebaseReport> {
    return await this.#with(view, bases, async (begun) => {
      const outcomes = await this.#outcomes(begun)
      const state = this.#refuses(outcomes) ? 'refused' : 'possible'
      return { ...headOf(begun), state, ...summaryOf(outcomes) }
    })
  }

  /** Puts a view on the newest versions, in one step for its clients. @throws OptionError naming `view`: the view is as before */
  async rebase(view: TemplateView, bases: BasePairs): Promise<RebaseReport> {
    return await view.inTurn(() => this.#with(view, bases, (begun) => this.#run(begun)))
  }

  /** Like `rebase`, for a view that is being opened and that nobody can use yet. */
  async atOpen(view: TemplateView, overlay: Overlay, bases: BasePairs): Promise<RebaseReport> {
    return await this.#begin(view, overlay, bases, (begun) => this.#run(begun))
  }

  async #with(
    view: TemplateView,
    bases: BasePairs,
    work: (begun: Begun) => Promise<RebaseReport>,
  ): Promise<RebaseReport> {
    try {
      const overlay = await view.use()
      try {
        return await this.#begin(view, overlay, bases, work)
      } finally {
        view.release()
      }
    } catch (error) {
      throw this.#parts.refusal(view.record.name, 'be put on another version', error)
    }
  }

  async #begin(
    view: TemplateView,
    overlay: Overlay,
    bases: BasePairs,
    work: (begun: Begun) => Promise<RebaseReport>,
  ): Promise<RebaseReport> {
    const { versions: from = {} } = view.record
    const to = { ...from, ...this.#parts.newest() }
    const head = { view: view.path, from, to }
    if (JSON.stringify(from) === JSON.stringify(to))
      return { ...head, state: 'current', counts: NO_COUNTS, conflicts: [], conflictCount: 0 }
    return await work({ view, overlay, changes: await bases.of(from, to), from, to })
  }

  async #outcomes({ overlay, changes }: Begun): Promise<PathOutcome[]> {
    const { strategyOf } = this.#parts
    return await outcomesOf({ cred: ADMIN, view: overlay, changes, strategyOf })
  }

  #refuses(outcomes: readonly PathOutcome[]): boolean {
    return outcomes.some(({ strategy }) => strategy === 'fail')
  }

  /** What clients change while the upper is built is not in it: then it is built again. In the end, clients wait. */
  async #run(begun: Begun): Promise<RebaseReport> {
    const outcomes = await this.#outcomes(begun)
    if (this.#refuses(outcomes)) return { ...headOf(begun), state: 'refused', ...summaryOf(outcomes) }
    const { view } = begun
    let admit: (() => void) | undefined
    try {
      for (let tries = 1; ; tries++) {
        if (tries === TRIES_WITH_CLIENTS + 1) admit = await view.hold()
        try {
          return await this.#try(begun)
        } catch (error) {
          if (!isErrno(error, 'EBUSY')) throw error
          if (tries === TRIES_WITH_CLIENTS + TRIES_ALONE) throw busy(view)
        }
      }
    } finally {
      admit?.()
    }
  }

  /** @throws EBUSY a client has changed something meanwhile */
  async #try(begun: Begun): Promise<RebaseReport> {
    const { layers, snapshots, random, wallNow } = this.#parts
    const { view, overlay, from, to } = begun
    await snapshots.freezeInTurn(view, overlay)
    const outcomes = await this.#outcomes(begun)
    if (this.#refuses(outcomes)) return { ...headOf(begun), state: 'refused', ...summaryOf(outcomes) }
    const layer = { id: newViewId(random), below: view.record.top }
    const snapshot = {
      name: snapshots.freeName(view, 'before-rebase-'),
      top: layer.id,
      createdMs: wallNow(),
      versions: from,
    }
    const record: FreezeRecord = { view: view.record.id, layer, top: undefined, snapshot, versions: to, rebased: true }
    const directory = await layers.prepare(record)
    let report: KeptReport
    try {
      const onNew = { ...view.record, versions: to, top: undefined }
      const { options, stack } = await view.layersOf(onNew)
      const suffix = `base-${suffixOf(from, to)}`
      const beside = await buildUpper({ cred: ADMIN, view: overlay, directory, options, stack, outcomes, suffix })
      report = {
        ...headOf(begun),
        ...summaryOf(outcomes, (outcome) => beside.get(outcome)),
        ...{ layer: layer.id, at: new Date(wallNow()).toISOString(), aside: `${view.path}@${snapshot.name}` },
      }
      await saveReport(directory, report)
      await view.freeze(directory, [], { record: onNew, overlay, prepared: true })
    } catch (error) {
      await layers.abandon(record)
      snapshots.adopt(view)
      throw error
    }
    await layers.frozen(record).finally(() => snapshots.adopt(view))
    await this.#afterwards(begun, report, directory)
    const { counts, conflicts, conflictCount, aside } = report
    return { ...headOf(begun), state: 'rebased', counts, conflicts, conflictCount, ...(aside && { aside }) }
  }

  /** What can fail without harm: the view is on the new base. */
  async #afterwards({ view, overlay }: Begun, report: KeptReport, directory: string): Promise<void> {
    await view.shareStack(overlay)
    await saveReport(join(this.#parts.directory, view.record.id), report).catch(() => undefined)
    await deleteTree(join(directory, BUILDING)).catch(() => undefined)
  }
}

function headOf({ view, from, to }: Begun): Pick<RebaseReport, 'view' | 'from' | 'to'> {
  return { view: view.path, from, to }
}

/** What is unlike in the new versions, as a part of names. */
function suffixOf(from: LayerVersions, to: LayerVersions): string {
  const changed = Object.entries(to).filter(([name, version]) => from[name] !== version)
  return changed.map(([, version]) => version).join('-') || 'new'
}

function busy({ path }: TemplateView): OptionError {
  return new OptionError(
    'view',
    `${path} is changed by its clients all the time, so it stays on its versions; try again, or with --at-next-open`,
  )
}
