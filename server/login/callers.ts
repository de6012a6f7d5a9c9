import type { Cred } from '../../overlay-core/index.ts'
import type { Caller, Scope } from '../../protocols/webdav/index.ts'
import { may } from './api/roles.ts'
import type { User } from './login.ts'
import type { TokenRecord } from './tokens/token-record.ts'

/** Whom callers act as who have no ids of their own, or all of them. */
export interface CallerIds {
  /** Whom a user without ids acts as. */
  readonly nobody: Cred
  /** Whom all users act as, because the server cannot act as anybody else. */
  readonly all: Cred | undefined
}

/** The callers of users; always the same object for a user, as long as it is remembered. */
export class Callers {
  readonly #ids: CallerIds
  readonly #known = new WeakMap<User, Caller>()

  constructor(ids: CallerIds) {
    this.#ids = ids
  }

  /** `link`: the secret of the link that the user came by. */
  of(user: User, link?: string): Caller {
    const known = this.#known.get(user)
    if (known !== undefined) return known
    const { token } = user
    const { uid, gid, groups } = this.#ids.all ?? user.ids ?? this.#ids.nobody
    const caller: Caller = {
      user: user.name,
      ...{ uid, gid, groups },
      roles: user.roles,
      groupNames: user.groups,
      dropOnly: token?.mode === 'drop',
      // The visitors of a link are not its user, and no login name contains a slash.
      lockName: link === undefined ? user.name : `${user.name}/link ${token?.id}`,
      endsLocks: token === undefined && may(user.roles, 'end lock of other'),
      readOnly: !may(user.roles, 'change shared view') || token?.mode === 'read',
      scope: token && scopeOf(token, link),
    }
    this.#known.set(user, caller)
    return caller
  }
}

function scopeOf({ view, path }: TokenRecord, link: string | undefined): Scope {
  const names = path.map((name) => Buffer.from(name, 'utf8').toString('latin1'))
  return { view, names, root: link === undefined ? undefined : `~${link}` }
}
