/** A person or program that may log in. */
export interface Account {
  /** The login name, as its source writes it: Unicode text. */
  readonly name: string
  /** The user and its groups on this machine, if the source knows them. */
  readonly ids?: AccountIds
  /** The names of its groups, which roles may be given to. */
  readonly groups: readonly string[]
  /** The maximum size of all its views together, in bytes; undefined if the source does not say. */
  readonly quotaBytes?: number
}

/** The ids that the files of an account belong to. */
export interface AccountIds {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups. */
  readonly groups: readonly number[]
}

/**
 * What a source says about a name and a secret: the account; `wrong` if it knows the name but the secret is wrong; `unknown` if it does not know the
 * name; `unavailable` if it cannot say at present.
 */
export type Verdict = Account | 'wrong' | 'unknown' | 'unavailable'

/**
 * Where accounts come from. Sources are asked in the configured order: the first that knows a name decides. One that is unavailable is passed over, so
 * that the others still log in.
 */
export interface AccountSource {
  /** Its word in `login.sources`, for the log. */
  readonly kind: string
  /**
   * Tells whether `secret` is that of `name`. Takes as long for an unknown name as for a wrong secret, and has a time limit of its own. `client`: the
   * address that it is done for; addresses take turns. Never rejects.
   */
  verify(name: string, secret: string, client: string): Promise<Verdict>
  /** The account of this name, without any secret: for tokens, certificates and commands. Never rejects. */
  lookup(name: string): Promise<Exclude<Verdict, 'wrong'>>
  /** Called whenever what it has said may no longer be true, so that logins are verified again. */
  onChange(changed: () => void): void
  close(): Promise<void>
}
