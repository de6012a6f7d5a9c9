import type { TemplateSettings } from '../settings.ts'
import type { Named } from './key.ts'
import type { VIEWS } from './view-tables.ts'

type Values = Named<typeof VIEWS.keys>['values']

/** Whether each user or machine has an upper of its own. */
export function isOwn(upper: string | undefined): boolean {
  return upper === 'per-user' || upper === 'per-machine' || upper === 'ephemeral'
}

/** The error in the keys of ephemeral views, without the start of its path. */
export function ephemeralError({ fsync, quota, directory }: Values): { at?: number; message: string } | undefined {
  if (fsync !== undefined && fsync.value !== 'volatile' && fsync.value !== 'auto')
    return { at: fsync.at, message: 'fsync`: nothing of an ephemeral view is kept, so nothing is synced; remove it' }
  if (directory !== undefined || quota !== undefined) return undefined
  return {
    message:
      'quota` is missing: without `directory` the views are in memory; add quota = "SIZE", or directory = "PATH"',
  }
}

/** Who has a view of a template; undefined for a view of all clients. */
export function kindOf({ upper, per }: Values): TemplateSettings['kind'] | undefined {
  if (upper?.value === 'ephemeral') return per?.value === 'machine' ? 'per-machine' : 'per-user'
  return upper?.value === 'per-user' || upper?.value === 'per-machine' ? upper.value : undefined
}
