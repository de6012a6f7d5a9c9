import type { RandomBytes } from '../random.ts'
import type { Accounts } from './accounts.ts'
import type { CreationRate } from './creation-rate.ts'
import type { MachineNames } from './machine-names.ts'
import type { OwnLimits } from './own-limits.ts'
import type { UserQuotas } from './user-quotas.ts'
import type { ViewPool } from './view-pool.ts'

/** What a template needs. */
export interface TemplateParts {
  readonly pool: ViewPool
  readonly accounts: Accounts
  readonly rate: CreationRate
  /** Who is at which address, for templates that machines boot from; undefined if there are none. */
  readonly machines?: MachineNames | undefined
  /** The limits of single views. */
  readonly ownLimits: OwnLimits
  /** The quotas of users over all templates. */
  readonly users: UserQuotas
  readonly random: RandomBytes
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  /** The effective user of the server. */
  readonly serverUid: number
}
