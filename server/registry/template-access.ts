import { isLoopback } from '../../config/index.ts'
import type { Caller } from '../../protocols/webdav/index.ts'
import { type Action, isListed, may, ROLES, type Role } from '../login/index.ts'
import type { TemplateAccess } from './dav-template.ts'
import type { Template } from './template.ts'

const OWN: ReadonlySet<Action> = new Set<Action>(['read own view', 'change own view'])

/** Access with a login: everybody has the view with the login name, and owners of the template and admins may use all. */
export function accessByLogin(template: Template): TemplateAccess {
  return {
    userOf: ({ caller }) => caller.user,
    may: ({ caller }, action) => {
      // A token that is limited to a part of a view is for that of its user.
      const limited = caller.scope !== undefined && !OWN.has(action)
      return !limited && may(rolesIn(template, caller), action)
    },
    isUnknownRoot: () => false,
    oneUser: false,
    groupsOf: ({ groups }) => groups,
  }
}

/** The roles of a caller for a template. */
export function rolesIn({ settings }: Template, { user, roles, groupNames }: Caller): readonly Role[] {
  const known = ROLES.filter((role) => roles.includes(role))
  if (user === undefined || !isListed(settings.owners, user, groupNames)) return known
  return [...known, 'owner']
}

/** Access without a login: all requests act as one user, or on loopback as the user that the path names. */
export function accessWithoutLogin({
  user,
  anyUser,
  onlyLoopback,
}: {
  /** The user that all requests act as; undefined if there is none, or it has no name. */
  readonly user: string | undefined
  /** Whether a path may name any user. */
  readonly anyUser: boolean
  /** Whether only a client on loopback may do that. */
  readonly onlyLoopback: boolean
}): TemplateAccess {
  return {
    userOf: () => user,
    may: ({ address }, action) => OWN.has(action) || (anyUser && (!onlyLoopback || isLoopback(address))),
    isUnknownRoot: (_client, uid) => uid === 0 && user === undefined,
    oneUser: anyUser && onlyLoopback,
    groupsOf: () => [],
  }
}
