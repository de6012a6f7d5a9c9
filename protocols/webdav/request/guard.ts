import type { IncomingHttpHeaders } from 'node:http'
import { type Attr, after, type Inode, type MaybePromise } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import { readLockToken } from '../http/headers.ts'
import { type IfCondition, type IfState, listHolds, parseIf } from '../http/if-header.ts'
import { evaluatePreconditions, hasPreconditions } from '../http/preconditions.ts'
import { type Lockable, locksOn } from '../locks/resource-locks.ts'
import type { DavServices, ViewContext } from '../state/context.ts'
import { parseReference } from './reference.ts'
import { isDirectory, isVisible, resolve, startsWith, type Target } from './resolve.ts'

/** A list of the If field and the state to evaluate it against; undefined for the resource of the request itself. */
interface BoundList {
  readonly conditions: readonly IfCondition[]
  readonly other: IfState | undefined
}

const NO_TOKENS: ReadonlySet<string> = new Set()
const NEVER: IfState = { etag: undefined, hasLock: () => false }

/**
 * The conditions of one changing request: the lock tokens it submits, and the If, If-Match, If-None-Match and
 * If-Unmodified-Since fields. `verify` is fast and never waits, so that it can run inside a `check` of the core, under its locks.
 */
export class Guard {
  /** The state tokens named anywhere in the If field. */
  readonly tokens: ReadonlySet<string>
  readonly #headers: IncomingHttpHeaders
  readonly #target: Target
  readonly #services: DavServices
  readonly #lists: readonly BoundList[]

  constructor(ctx: ViewContext, target: Target, tokens: ReadonlySet<string>, lists: readonly BoundList[]) {
    this.#headers = ctx.req.headers
    this.#services = ctx.services
    this.#target = target
    this.tokens = tokens
    this.#lists = lists
  }

  /**
   * Evaluates the conditions against the present state of the requested resource: first If, which submits lock tokens, then `locks`, then the
   * fields of RFC 9110, which are ignored if the response without them would be an error (section 13.2.1).
   * @throws DavError 412 one of them fails · what `locks` throws
   */
  verify(inode: Inode | undefined, attr: Attr | undefined, locks?: () => void): void {
    this.verifyIf(inode, attr)
    locks?.()
    const seen = inode !== undefined && attr !== undefined && isVisible(inode)
    const state = { exists: seen, etag: fileEtag(inode, attr), mtimeSec: seen ? attr.mtime.sec : undefined }
    if (evaluatePreconditions(this.#headers, state, false) !== undefined) {
      throw new DavError(412, 'a precondition failed')
    }
  }

  /** Evaluates only the If field against the resource. @throws DavError 412 */
  verifyIf(inode: Inode | undefined, attr: Attr | undefined): void {
    if (this.#lists.length === 0) return
    const { view, names } = this.#target
    const etag = fileEtag(inode, attr)
    const own = lockState(this.#services, { view, names, inode }, etag)
    if (!this.#lists.some((list) => listHolds(list.conditions, list.other ?? own))) {
      throw new DavError(412, 'the condition of the If field is false')
    }
  }
}

/**
 * Reads the conditions of a request on `target`. Other resources in the If field are looked up now.
 * @throws DavError 400 the If field is malformed
 */
export function prepareGuard(ctx: ViewContext, target: Target): MaybePromise<Guard> {
  const field = ctx.req.headers.if
  if (field === undefined) return new Guard(ctx, target, officeTokens(ctx), [])
  return prepareIf(ctx, target, String(field))
}

/** Evaluates the If field of a GET or HEAD, if any, against `target`. @throws DavError 400 · 412 */
export async function verifyIf(ctx: ViewContext, target: Target, inode: Inode, attr: Attr): Promise<void> {
  if (ctx.req.headers.if === undefined) return
  const guard = await prepareGuard(ctx, target)
  guard.verifyIf(inode, attr)
}

/** Evaluates all conditions of a read-only request other than GET and HEAD against `target`. @throws DavError 400 · 412 */
export function verifyAll(ctx: ViewContext, target: Target, inode: Inode, attr: Attr): MaybePromise<void> {
  const { headers } = ctx.req
  if (headers.if === undefined && !hasPreconditions(headers)) return
  return after(prepareGuard(ctx, target), (guard) => guard.verify(inode, attr))
}

/** The token in the Lock-Token field of a PUT: Microsoft Office submits it there instead of in If. */
function officeTokens({ req }: ViewContext): ReadonlySet<string> {
  if (req.method !== 'PUT') return NO_TOKENS
  const token = readLockToken(req.headers['lock-token'])
  return token === undefined ? NO_TOKENS : new Set([token])
}

async function prepareIf(ctx: ViewContext, target: Target, field: string): Promise<Guard> {
  const tokens = new Set<string>()
  const lists: BoundList[] = []
  const states = new Map<string, IfState | undefined>()
  for (const { tag, conditions } of parseIf(field)) {
    for (const { token } of conditions) if (token !== undefined) tokens.add(token)
    if (tag !== undefined && !states.has(tag)) states.set(tag, await taggedState(ctx, target, tag))
    lists.push({ conditions, other: tag === undefined ? undefined : states.get(tag) })
  }
  return new Guard(ctx, target, tokens, lists)
}

/** The state of the resource in a tag; undefined if it is the resource of the request. */
async function taggedState(ctx: ViewContext, target: Target, tag: string): Promise<IfState | undefined> {
  const reference = parseReference(tag, ctx)
  if (typeof reference === 'string') return NEVER
  const { view, names } = reference
  const other = await resolve(view, names, true)
  if (view === target.view && samePath(other.names, target.names)) return undefined
  const attr = other.inode && (await view.overlay.getattr(other.inode))
  return lockState(ctx.services, other, fileEtag(other.inode, attr))
}

/** The entity tag of a visible file; undefined for anything else. */
function fileEtag(inode: Inode | undefined, attr: Attr | undefined): string | undefined {
  if (inode === undefined || attr === undefined || !isVisible(inode) || isDirectory(inode)) return undefined
  return etagOf(inode, attr)
}

function lockState(services: DavServices, resource: Lockable, etag: string | undefined): IfState {
  return {
    etag,
    hasLock: (token) => locksOn(services.locks, resource).some((lock) => lock.token === token),
  }
}

/** Whether two paths are the same. */
export function samePath(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && startsWith(a, b)
}
