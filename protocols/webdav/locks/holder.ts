/** Whose a lock is: that of a login name where there is one, because several may act as one user; otherwise that of the user. */
export interface Holder {
  /** A user id. */
  readonly user: number
  /** Undefined without a login, and for locks that older versions kept. */
  readonly login?: string | undefined
}

/** Whether both are the same. If one has no login name, the user decides. */
export function isSameHolder(a: Holder, b: Holder): boolean {
  return a.login === undefined || b.login === undefined ? a.user === b.user : a.login === b.login
}

/** What the locks of a holder are counted under. */
export function holderKey({ user, login }: Holder): string | number {
  return login ?? user
}
