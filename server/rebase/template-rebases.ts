import { join } from 'node:path'
import type { Logger } from 'pino'
import type { TemplateSettings } from '../../config/index.ts'
import type { MountOptions, OptionError, Overlay, Stack } from '../../overlay-core/index.ts'
import { withoutUpper } from '../mount-view.ts'
import type { RandomBytes } from '../random.ts'
import type { Snapshots } from '../registry/snapshots.ts'
import { mountOn, versionsOfNew } from '../registry/template-lowers.ts'
import type { TemplateView } from '../registry/template-view.ts'
import type { ViewLayers } from '../registry/view-layers.ts'
import type { Registry } from '../registry/view-registry.ts'
import { BasePairs } from './base-pairs.ts'
import { type KeptReport, readReport } from './conflict-file.ts'
import { Rebases } from './rebases.ts'
import { NO_COUNTS, type RebaseReport } from './report.ts'
import { strategiesOf } from './strategies.ts'

/** What the rebases of a template work with. */
export interface TemplateRebaseParts {
  readonly pool: { readonly log: Logger }
  /** `snapshots` @throws OptionError the views of the template are not kept */
  readonly template: { readonly settings: TemplateSettings; readonly snapshots: Snapshots }
  readonly registry: Pick<Registry, 'layers' | 'lieOn'>
  readonly stackOf: (options: MountOptions) => Promise<Stack>
  readonly random: RandomBytes
  readonly wallNow: () => number
  /** The error for a view that cannot be changed, for the one who asks. */
  readonly refusal: (name: string, what: string, error: unknown) => OptionError
}

/** The rebases of the views of a template. */
export class TemplateRebases {
  readonly #parts: TemplateRebaseParts

  constructor(parts: TemplateRebaseParts) {
    this.#parts = parts
  }

  /** The versions of the base, for one order; to be closed. */
  bases(): BasePairs {
    const { template, stackOf } = this.#parts
    return new BasePairs({ stackOf, lowersAt: (versions) => withoutUpper(mountOn(template.settings, versions)) })
  }

  /** @throws OptionError naming `view`: nothing of the views is kept, so nothing is put on another version */
  get #rebases(): Rebases {
    const { template, registry, random, wallNow, refusal } = this.#parts
    const { snapshots, settings } = template
    const { directory, conflicts = [] } = settings
    return new Rebases({
      ...{ random, wallNow, refusal, directory, snapshots, strategyOf: strategiesOf(conflicts) },
      layers: registry.layers as ViewLayers,
      newest: () => versionsOfNew(template.settings),
    })
  }

  /** What would come of a view. @throws OptionError naming `view` */
  async report(view: TemplateView, bases: BasePairs): Promise<RebaseReport> {
    return await this.#rebases.report(view, bases)
  }

  /** Puts a view on the newest versions. @throws OptionError naming `view`: it is as before */
  async rebase(view: TemplateView, bases: BasePairs): Promise<RebaseReport> {
    return await this.#rebases.rebase(view, bases)
  }

  /** Plans that for the next opening of a view. @throws OptionError naming `view` */
  async plan(view: TemplateView): Promise<RebaseReport> {
    const { template, registry, refusal } = this.#parts
    const { versions: from = {}, name } = view.record
    const to = { ...from, ...versionsOfNew(template.settings) }
    needKept(template)
    const nothing = { view: view.path, from, to, counts: NO_COUNTS, conflicts: [], conflictCount: 0 }
    if (JSON.stringify(from) === JSON.stringify(to)) return { ...nothing, state: 'current' }
    try {
      view.record = await view.inTurn(() => registry.lieOn(view.record, from, true))
    } catch (error) {
      throw refusal(name, 'be put on another version', error)
    }
    return { ...nothing, state: 'planned' }
  }

  /** Does what was planned for a view that is being opened. Never rejects: what fails is in the log, and the view opens as it is. */
  async beforeUse(view: TemplateView, overlay: Overlay): Promise<void> {
    if (view.record.due !== true) return
    const { log } = this.#parts.pool
    const bases = this.bases()
    try {
      const { state, conflictCount } = await this.#rebases.atOpen(view, overlay, bases)
      if (state === 'refused')
        log.warn(
          { view: view.path },
          `the view ${view.path} stays on its versions: ${conflictCount} paths are in conflict; see overlayd rebase ${view.path} --dry-run`,
        )
    } catch (error) {
      const { message } = error as Error
      log.error({ err: error, view: view.path }, `the view ${view.path} stays on its versions: ${message}`)
    } finally {
      await bases.close()
    }
  }

  /** The report about the last rebase of a view; undefined if there was none, or it is lost. */
  async lastReport({ record }: TemplateView): Promise<KeptReport | undefined> {
    const { template, registry } = this.#parts
    const { id, rebased } = record
    if (rebased === undefined || registry.layers === undefined) return undefined
    return await readReport(rebased, [join(template.settings.directory, id), registry.layers.directoryOf(rebased)])
  }
}

/** @throws OptionError naming `view`: nothing of the views is kept */
function needKept({ snapshots }: { readonly snapshots: Snapshots }): void {
  void snapshots
}
