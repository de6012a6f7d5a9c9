import type { Cred, Name } from '../../../overlay-core/index.ts'

/** Who sent a request. The server finds out before the adapter gets the request. */
export interface Caller extends Cred {
  /** The login name; undefined if there is no login. */
  readonly user: string | undefined
  /** What the user is, for example `reader`, in the words of the server. */
  readonly roles: readonly string[]
  /** The names of its groups, in the words of the server. */
  readonly groupNames: readonly string[]
  /** Whether requests that change something are refused. */
  readonly readOnly: boolean
  /** Whether the caller may only add files that do not exist yet, and sees nothing. */
  readonly dropOnly: boolean
  /** The name under which it takes locks: who takes one with another name cannot use it. Undefined: its user id counts. */
  readonly lockName: string | undefined
  /** Whether the caller may end the locks of others. */
  readonly endsLocks: boolean
  /** What the token of the request is limited to; undefined: to nothing less than what its user may do. */
  readonly scope: Scope | undefined
}

/** A part of a view. */
export interface Scope {
  /** The name of the view or template, as Unicode text; undefined: all. */
  readonly view: string | undefined
  /** The path inside the view; everything else does not exist for the caller. */
  readonly names: readonly Name[]
  /** The path segment under which the part is served, and nothing else; undefined: at its usual path. Requires `view`. */
  readonly root: Name | undefined
}

/** The caller of a server that nobody has told about callers: it acts as the user nobody. */
export const NOBODY: Caller = {
  user: undefined,
  uid: 65_534,
  gid: 65_534,
  groups: [],
  roles: [],
  groupNames: [],
  readOnly: false,
  dropOnly: false,
  lockName: undefined,
  endsLocks: false,
  scope: undefined,
}
