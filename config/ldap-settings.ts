/** A server of a directory. */
export interface LdapUrl {
  /** As it was given. */
  readonly text: string
  readonly host: string
  readonly port: number
  /** Whether the connection is encrypted from its beginning (`ldaps:`). */
  readonly encrypted: boolean
}

/** The directory of the source `ldap`, and what its attributes mean. */
export interface LdapSettings {
  /** In the order in which they are asked. */
  readonly urls: readonly LdapUrl[]
  /** Whether a connection that is not encrypted is encrypted by StartTLS. */
  readonly startTls: boolean
  /** The certificates of trusted authorities; undefined: those of Node. Absolute. */
  readonly caFile: string | undefined
  /** Who searches; undefined: nobody in particular. */
  readonly bindDn: string | undefined
  readonly bindPassword: string | undefined
  /** Absolute. Set if `bindDn` is and `bindPassword` is not. */
  readonly bindPasswordFile: string | undefined
  /** Below which object users are. */
  readonly base: string
  /** With `{user}`. */
  readonly userFilter: string
  readonly nameAttribute: string
  /** The attribute with the names of the groups of a user; undefined: not read. */
  readonly groupAttribute: string | undefined
  /** Below which object groups are; undefined: anywhere, or for searches `base`. */
  readonly groupBase: string | undefined
  /** With `{user}` and `{dn}`; undefined: groups are not searched for. */
  readonly groupFilter: string | undefined
  readonly groupNameAttribute: string
  /** Undefined: ids come from elsewhere. */
  readonly uidAttribute: string | undefined
  readonly gidAttribute: string
  /** The attribute with the maximum size of all views of a user; undefined: not read. */
  readonly quotaAttribute: string | undefined
  /** How long a server may take for a login. */
  readonly timeoutMs: number
}
