import { OptionError, type QuotaLimits } from '../../overlay-core/index.ts'
import { bytesOf } from '../size.ts'
import type { Given } from './key.ts'
import { choiceType, textType, wholeType } from './value-types.ts'

const DAY_MS = 86_400_000
/** The maximum of a limit of files. */
export const MOST_FILES = 1_000_000_000

/** A number of bytes, with a unit of 1024. */
export const SIZE = textType('"SIZE"', 'a size', (text) => {
  const bytes = bytesOf(text)
  if (bytes === undefined)
    throw new OptionError('quota', `${JSON.stringify(text)} is not a size; use for example "500M" or "10G"`)
  return { bytes, text }
})

/** A number of minutes, hours or days, in ms. */
export const GRACE = textType('"TIME"', 'a time', (text) => {
  const [, count, unit] = /^(\d{1,5})(m|h|d)$/.exec(text) ?? []
  const ms = Number(count) * { m: 60_000, h: 3_600_000, d: DAY_MS }[unit as 'm' | 'h' | 'd']
  if (count === undefined || ms < 60_000 || ms > 366 * DAY_MS)
    throw new OptionError('grace', `${JSON.stringify(text)} is not a time from 1m to 366d; use for example "7d"`)
  return { ms, text }
})

/** The default of `quota_grace`. */
const GRACE_MS = 7 * DAY_MS

interface GivenLimits {
  readonly quota?: Given<{ readonly bytes: number }> | undefined
  readonly quota_soft?: Given<{ readonly bytes: number }> | undefined
  readonly quota_files?: Given<number> | undefined
  readonly quota_files_soft?: Given<number> | undefined
  readonly quota_grace?: Given<{ readonly ms: number }> | undefined
}

/** The limits that a table sets; undefined if there are none. */
export function quotaOf(values: GivenLimits): QuotaLimits | undefined {
  const { quota, quota_soft, quota_files, quota_files_soft, quota_grace } = values
  const limits = {
    hardBytes: quota?.value.bytes,
    softBytes: quota_soft?.value.bytes,
    hardFiles: quota_files?.value,
    softFiles: quota_files_soft?.value,
  }
  if (Object.values(limits).every((limit) => limit === undefined)) return undefined
  return { ...limits, graceMs: quota_grace?.value.ms ?? GRACE_MS }
}

interface GivenQuota extends GivenLimits {
  readonly upper?: Given<string> | undefined
  readonly directory?: Given<string> | undefined
  readonly quota_by?: Given<'server' | 'filesystem'> | undefined
}

/** The error in the keys of quotas that the file system applies, without the start of its path. */
export function quotaByError(values: GivenQuota): { at: number; message: string } | undefined {
  const { upper, directory, quota_by, quota_grace } = values
  if (quota_by?.value !== 'filesystem') return undefined
  const { at } = quota_by
  if (quotaOf(values) === undefined) return { at, message: 'quota_by`: there is no limit; add quota = "SIZE"' }
  if (upper?.value === 'ephemeral' && directory === undefined)
    return {
      at,
      message: 'quota_by`: without `directory` the views are in memory, which has no project quotas; remove it',
    }
  if (quota_grace === undefined || quota_grace.value.ms === GRACE_MS) return undefined
  return {
    at: quota_grace.at,
    message:
      'quota_grace`: the file system has one time for all its projects; set that with setquota -P -t or xfs_quota, and remove this',
  }
}

/** The keys of `[views.NAME]` that limit each view. */
export const QUOTA_KEYS = {
  quota: {
    type: SIZE,
    meaning:
      'The maximum size of each view: of all files in its upper together, in bytes or with `K`, `M`, `G` or `T`. What exceeds it fails with "disk quota exceeded"; removing always works. See [views.md](views.md#quotas). Only where each user or machine has a view.',
    otherwise: 'no limit',
    example: '"10G"',
  },
  quota_soft: {
    type: SIZE,
    meaning: 'Like `quota`, but a view may be above it for the time `quota_grace`.',
    otherwise: 'no limit',
    example: '"8G"',
  },
  quota_files: {
    type: wholeType(1, MOST_FILES),
    meaning: 'The maximum number of files, directories and other objects in the upper of each view.',
    otherwise: 'no limit',
    example: '100000',
  },
  quota_files_soft: {
    type: wholeType(1, MOST_FILES),
    meaning: 'Like `quota_files`, but a view may be above it for the time `quota_grace`.',
    otherwise: 'no limit',
    example: '80000',
  },
  quota_grace: {
    type: GRACE,
    meaning:
      'How long a view may be above a soft limit: a number of minutes, hours or days. After that, the soft limit is a hard one until the view is below it again.',
    default: '"7d"',
  },
  quota_by: {
    type: choiceType(['server', 'filesystem']),
    meaning:
      'Who limits each view: the server, or the file system of `directory` by its project quotas. These count the blocks and objects on the disk, `work` and whiteouts included. It must be mounted with them (`prjquota`), and a view that contains something must have a project. `quota_grace` is that of the file system then. See [views.md](views.md#quotas-of-the-file-system).',
    default: '"server"',
  },
} as const
