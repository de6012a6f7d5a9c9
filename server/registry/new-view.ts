import { isIP } from 'node:net'
import type { Identity, TemplateSettings } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Accounts } from './accounts.ts'
import { ownerOfDirectory } from './view-directory.ts'
import { viewNameError } from './view-name.ts'
import type { ViewRecord } from './view-record.ts'

/** The owner of a new view; undefined if there is no such user. */
export async function ownerOfNew(
  name: string,
  { owner, kind, mount }: TemplateSettings,
  { accounts, serverUid }: { readonly accounts: Accounts; readonly serverUid: number },
): Promise<Identity | undefined> {
  if (owner !== undefined) return owner
  // Only root can make a directory of somebody else.
  if (serverUid !== 0) return { uid: serverUid, gid: process.getegid?.() ?? serverUid }
  return kind === 'per-user' ? await accounts.byName(name) : await ownerOfDirectory(mount.lowerdir[0] as string)
}

/** Where a new name is wanted. */
export interface NamePlace {
  readonly template: string
  readonly settings: Pick<TemplateSettings, 'kind' | 'boots'>
  /** Whether a view of this name is being made. */
  readonly making: boolean
  /** The view whose name differs from this at most in case or Unicode form. */
  readonly alike: ViewRecord | undefined
}

/** Refuses a name that a view cannot get. @throws OptionError naming `view` */
export function refuseNewName(name: string, { template, settings: { kind, boots }, making, alike }: NamePlace): void {
  const wrong = viewNameError(name)
  if (wrong !== undefined) throw new OptionError('view', wrong)
  if (kind === 'per-machine' && !boots && isIP(name) === 0)
    throw new OptionError(
      'view',
      `${JSON.stringify(name)} is not the address of a machine; give an IPv4 or IPv6 address`,
    )
  if (making) throw new OptionError('view', `${template}/${name} is being made; choose another name`)
  if (alike === undefined) return
  const same = alike.name === name ? 'exists already' : `differs from ${template}/${alike.name} only in case or form`
  throw new OptionError('view', `${template}/${name} ${same}; choose another name`)
}

/** The error for a view that is one too many. */
export function fullError(template: string, { maxViews }: TemplateSettings): OptionError {
  return new OptionError('view', `${template} has ${maxViews} views already; remove one, or raise max_views`)
}

/** The error for a view of nobody. */
export function noUserError(name: string, template: string): OptionError {
  return new OptionError('view', `there is no user ${JSON.stringify(name)}; add one, or set views.${template}.owner`)
}
