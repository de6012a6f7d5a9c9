import { OptionError } from '../../overlay-core/index.ts'
import type { TemplateSettings } from '../settings.ts'
import type { ResetRules, SnapshotCounts } from '../snapshot-settings.ts'
import type { Given, Key } from './key.ts'
import { GRACE } from './quota-keys.ts'
import { listType, textType, wholeType } from './value-types.ts'

/** How many scheduled snapshots are kept of a period. */
function snapshotCount(period: 'hour' | 'day' | 'week'): Key<number> {
  return {
    type: wholeType(0, 400),
    meaning: `How many scheduled snapshots of each view are kept with one for each ${period} (UTC). A view that was not changed since its last snapshot gets none ([snapshots](snapshots.md#schedule)). Only with \`"per-user"\` and \`"per-machine"\`.`,
    default: '0',
  }
}

/** A path from the root of a view. */
const VIEW_PATH = textType('"/PATH"', 'a path from the root of a view', (text) => {
  if (!text.startsWith('/') || text.split('/').includes('..'))
    throw new OptionError(
      'keep',
      `${JSON.stringify(text)} is not a path from the root of a view; use for example "/home"`,
    )
  return text
})

/** The keys of `[views.NAME]` about what is kept of each view. */
export const SNAPSHOT_KEYS = {
  snapshots_hourly: snapshotCount('hour'),
  snapshots_daily: snapshotCount('day'),
  snapshots_weekly: snapshotCount('week'),
  trash: {
    type: GRACE,
    meaning:
      'How long removed views and snapshots can be brought back. Minutes (`"30m"`), hours or days (`"7d"`). `overlayd trash restore` does that, also for what `--drop` lets go of. Their space stays in use for that time ([snapshots](snapshots.md#trash)). Only with `"per-user"` and `"per-machine"`.',
    otherwise: 'they are deleted at once',
    example: '"7d"',
  },
  keep: {
    type: listType(VIEW_PATH),
    meaning:
      'Paths from the root of a view that `overlayd reset` of a whole view leaves as they are ([snapshots](snapshots.md#reset)). Only with `"per-user"` and `"per-machine"`.',
    default: '[]',
    example: '["/home"]',
  },
  ephemeral: {
    type: listType(VIEW_PATH),
    meaning:
      'Directories of a view that are empty after `overlayd reset` of a whole view, whatever the layers contain there. Only with `"per-user"` and `"per-machine"`.',
    default: '[]',
    example: '["/var/log"]',
  },
} as const

interface GivenKeys {
  readonly upper?: Given<string> | undefined
  readonly snapshots_hourly?: Given<number> | undefined
  readonly snapshots_daily?: Given<number> | undefined
  readonly snapshots_weekly?: Given<number> | undefined
  readonly trash?: Given<{ readonly ms: number }> | undefined
  readonly keep?: Given<readonly string[]> | undefined
  readonly ephemeral?: Given<readonly string[]> | undefined
}

/** The problems of keys about what is kept of views that have nothing to keep, with their positions. */
export function uselessSnapshotKeys(
  name: string,
  { upper, snapshots_hourly, snapshots_daily, snapshots_weekly, trash, keep, ephemeral }: GivenKeys,
): readonly (readonly [at: number, problem: string])[] {
  if (upper?.value === 'per-user' || upper?.value === 'per-machine') return []
  const counts = Object.entries({ snapshots_hourly, snapshots_daily, snapshots_weekly })
  const lists = Object.entries({ keep, ephemeral })
  const used = [
    ...counts.filter(([, given]) => given?.value),
    ...lists.filter(([, given]) => given?.value.length),
    ...(trash ? [['trash', trash] as const] : []),
  ]
  return used.map(([key, given]) => [
    given?.at ?? 0,
    `\`views.${name}.${key}\` has an effect only with upper = "per-user" or "per-machine"; remove it`,
  ])
}

/** What a reset treats in another way; undefined if it takes everything back. */
function resetRulesOf({ keep, ephemeral }: GivenKeys): ResetRules | undefined {
  const rules = { keep: keep?.value ?? [], ephemeral: ephemeral?.value ?? [] }
  return rules.keep.length + rules.ephemeral.length === 0 ? undefined : rules
}

/** Which snapshots are taken by themselves; undefined: none. */
function scheduleOf(values: GivenKeys): SnapshotCounts | undefined {
  const { snapshots_hourly, snapshots_daily, snapshots_weekly } = values
  const counts = {
    hourly: snapshots_hourly?.value ?? 0,
    daily: snapshots_daily?.value ?? 0,
    weekly: snapshots_weekly?.value ?? 0,
  }
  return counts.hourly + counts.daily + counts.weekly === 0 ? undefined : counts
}

/** What is kept of each view. */
export function keptOf(values: GivenKeys): Pick<TemplateSettings, 'resetRules' | 'schedule' | 'trashMs'> {
  return { resetRules: resetRulesOf(values), schedule: scheduleOf(values), trashMs: values.trash?.value.ms }
}
