import type { FreshUpper, MountOptions, Overlay, QuotaLimits, Stack } from '../../overlay-core/index.ts'
import type { RandomBytes } from '../random.ts'
import type { TemplateView } from './template-view.ts'
import type { UserQuotas } from './user-quotas.ts'
import type { ViewPool } from './view-pool.ts'
import type { ViewRecord } from './view-record.ts'

/** How the upper of a view is frozen. */
export interface FreezeHow {
  /** The view from then on, but for its frozen layers. */
  readonly record: ViewRecord
  /** Its overlay, if the caller uses it already. */
  readonly overlay?: Overlay | undefined
  /** @see Overlay.freeze */
  readonly prepared?: boolean | FreshUpper
}

/** What a view of a template needs from it. */
export interface ViewPlan {
  readonly template: string
  readonly pool: ViewPool
  /** The mount options of a view, by default on its present frozen layers. */
  readonly optionsOf: (record: ViewRecord, frozen?: readonly string[]) => MountOptions
  /** The stack for these options. @throws OptionError a lower is missing */
  readonly stackOf: (options: MountOptions) => Promise<Stack>
  readonly idleMs: () => number
  /** Makes the directory and the record of the view with this id durable; undefined if they are. */
  readonly settle: (id: string) => Promise<void> | undefined
  /** The present limits of a view; undefined without a quota. */
  readonly limits: (id: string) => QuotaLimits | undefined
  /** The present limits of a view that the file system applies; undefined if it does not limit the views. */
  readonly projectLimits: () => QuotaLimits | undefined
  readonly random: RandomBytes
  /** The quotas of users; undefined if the views do not belong to users. */
  readonly users: UserQuotas | undefined
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  /** Does what was planned for the next opening of a view, which nobody can use yet. Never rejects. */
  readonly beforeUse: (view: TemplateView, overlay: Overlay) => Promise<void>
  /** Set if a view ends when it is closed. */
  readonly ephemeral: EphemeralPlan | undefined
  /** The directory of the file handles of a view without a workdir; made if it is missing. */
  readonly handleDirectory?: (() => Promise<string>) | undefined
}

/** What the template does when an ephemeral view ends. */
export interface EphemeralPlan {
  /** Takes out a view, before it is closed. */
  takeOut(view: TemplateView): void
  /** Deletes what a closed view contains. */
  gone(record: ViewRecord): Promise<void>
}
