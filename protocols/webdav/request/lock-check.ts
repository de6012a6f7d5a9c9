import type { Name } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { LockScope } from '../http/vocabulary.ts'
import { isSameHolder } from '../locks/holder.ts'
import type { ActiveLock } from '../locks/lock-store.ts'
import { type Lockable, locksOn } from '../locks/resource-locks.ts'
import type { DavServices, DavView } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'

/** A place in a view. */
export interface ResourceName {
  readonly view: DavView
  readonly names: readonly Name[]
}

/** The lock among `locks` that forbids a change by a client with `tokens`; undefined if there is none. */
export function obstacle(locks: readonly ActiveLock[], tokens: ReadonlySet<string>): ActiveLock | undefined {
  // A file may be under several locks through its other names: an exclusive one always requires its own token.
  const missing = locks.find(({ kind, token }) => kind.scope === LockScope.Exclusive && !tokens.has(token))
  if (missing !== undefined) return missing
  // For shared locks any one token suffices (RFC 4918 section 6.1).
  return locks.some((lock) => tokens.has(lock.token)) ? undefined : locks[0]
}

/**
 * Those of `tokens` that are not of a lock of somebody else. Anybody can find a token by lock discovery, so having one gives no rights
 * (RFC 4918 section 6.5).
 */
function ownTokens({ locks }: DavServices, { holder }: DavView, tokens: ReadonlySet<string>): ReadonlySet<string> {
  const isOthers = (token: string) => !isSameHolder(locks.byToken(token) ?? holder, holder)
  return [...tokens].some(isOthers) ? new Set([...tokens].filter((token) => !isOthers(token))) : tokens
}

/** Requires the tokens of the locks on a resource (RFC 4918 section 7), at whichever name of the file they were taken. @throws DavError 423 */
export function requireResource(
  services: DavServices,
  place: Lockable & ResourceName,
  tokens: ReadonlySet<string>,
): void {
  const lock = obstacle(locksOn(services.locks, place), ownTokens(services, place.view, tokens))
  if (lock !== undefined) throw lockedError(place.view, lock)
}

/** Requires the tokens of the locks on a path. @throws DavError 423 */
function requireName(services: DavServices, { view, names }: ResourceName, tokens: ReadonlySet<string>): void {
  const lock = obstacle(services.locks.covering(view.id, names), ownTokens(services, view, tokens))
  if (lock !== undefined) throw lockedError(view, lock)
}

/**
 * Requires the tokens for adding or removing the member `names` of a collection: those of the locks on the member and on its
 * parent, whose state includes its members (RFC 4918 section 7.4). A lock on the same file at another name is
 * irrelevant, because the file itself does not change.
 *
 * @throws DavError 423
 */
export function requireMember(services: DavServices, place: ResourceName, tokens: ReadonlySet<string>): void {
  if (services.locks.size === 0) return
  requireName(services, place, tokens)
  const { view, names } = place
  if (names.length > 0) requireName(services, { view, names: names.slice(0, -1) }, tokens)
}

/** The locks below a collection whose tokens are not in `submitted`, one for each locked resource, at most `limit`. */
export function obstaclesBelow(
  services: DavServices,
  place: ResourceName,
  submitted: ReadonlySet<string>,
  limit: number = services.limits.reportedFailures,
): ActiveLock[] {
  if (services.locks.size === 0) return []
  const tokens = ownTokens(services, place.view, submitted)
  // The token of a deep lock on the collection covers everything below, so the list need not be searched.
  const covering = services.locks.covering(place.view.id, place.names)
  if (covering.some((lock) => lock.deep && tokens.has(lock.token))) return []
  const found: ActiveLock[] = []
  for (const { own, above } of services.locks.lockedBelow(place.view.id, place.names, tokens)) {
    if (obstacle([...own, ...above], tokens) !== undefined) found.push(own[0] as ActiveLock)
    if (found.length >= limit) break
  }
  return found
}

/** The error 423 with the root of the lock (RFC 4918 section 16, `lock-token-submitted`). */
export function lockedError(view: DavView, lock: ActiveLock): DavError {
  const href = hrefIn(view, lock.names, false)
  return new DavError(423, 'the resource is locked', {
    condition: `<D:lock-token-submitted><D:href>${href}</D:href></D:lock-token-submitted>`,
  })
}
