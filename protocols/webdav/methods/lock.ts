import { Access, type Attr, type Inode, isErrno, type MaybePromise, OverlayError } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { parseDepth, parseTimeout } from '../http/headers.ts'
import { LockKind, LockScope, LockType } from '../http/vocabulary.ts'
import { childElements, type XmlElement } from '../http/xml.ts'
import { serializeContent } from '../http/xml-write.ts'
import { isSameHolder } from '../locks/holder.ts'
import type { ActiveLock } from '../locks/lock-store.ts'
import type { LockUsage } from '../locks/lock-usage.ts'
import { fileIdOf, locksOn } from '../locks/resource-locks.ts'
import { lockDiscovery } from '../properties/lock-xml.ts'
import { parseBody, readBody } from '../request/body.ts'
import { type Guard, prepareGuard } from '../request/guard.ts'
import { requireMember } from '../request/lock-check.ts'
import { Multistatus, statusResponse } from '../request/multistatus.ts'
import { sendBody, XML_TYPE } from '../request/reply.ts'
import { isVisible, resolve, type Target } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'
import { NEW_FILE_MODE } from './put.ts'

/** The parsed body of a LOCK. */
interface LockRequest {
  readonly scope: LockScope
  /** Self-contained XML. */
  readonly owner: string
}

/**
 * LOCK (RFC 4918 section 9.10): takes a lock, or refreshes one if there is no body. For a name that does not exist it creates an empty
 * file (201).
 *
 * @throws DavError 400 · 403 · 409 no parent · 412 · 423 a conflicting lock · 503 too many locks
 */
export async function lock(ctx: ViewContext): Promise<void> {
  const { services, view } = ctx
  const root = await parseBody(await readBody(ctx, services.limits.xmlBytes), services.limits)
  const request = root === undefined ? undefined : readLockInfo(root, services.limits.ownerBytes)
  const depth = parseDepth(ctx.req.headers.depth, 'infinity')
  if (depth === 1) throw badRequest('LOCK supports Depth 0 and infinity only')
  const target = await resolve(view, ctx.path.names, true)
  const guard = await prepareGuard(ctx, target)
  const attr = target.inode && (await view.overlay.getattr(target.inode))
  guard.verifyIf(target.inode, attr)
  if (request === undefined) return refresh(ctx, target, guard, attr)
  await checkAccess(ctx, target)
  const wish = { ...request, deep: depth === 'infinity' }
  if (await sendConflicts(ctx, target, wish)) return
  guard.verify(target.inode, attr)
  const created = target.inode === undefined ? await createEmpty(ctx, target, guard) : undefined
  const present = target.inode ?? created ?? (await resolve(view, ctx.path.names, true)).inode
  const taken = take(ctx, { ...target, inode: present }, wish)
  // Another client may have locked it in the meantime.
  if (taken === undefined) {
    if (await sendConflicts(ctx, target, wish)) return
    throw new DavError(423, 'another lock conflicted')
  }
  await taken.kept
  sendLock(ctx, created === undefined ? 200 : 201, taken.lock, ['Lock-Token', `<${taken.lock.token}>`])
}

function readLockInfo(root: XmlElement, maxOwnerBytes: number): LockRequest {
  if (root.uri !== 'DAV:' || root.local !== 'lockinfo') throw badRequest('the body is not a DAV:lockinfo')
  const parts = childElements(root).filter(({ uri }) => uri === 'DAV:')
  const word = (name: string) => {
    const part = parts.find(({ local }) => local === name)
    return part && childElements(part).find(({ uri }) => uri === 'DAV:')?.local
  }
  const scope = [LockScope.Exclusive, LockScope.Shared].find(({ value }) => value === word('lockscope'))
  if (scope === undefined || word('locktype') !== LockType.Write.value) throw badRequest('unknown lock type or scope')
  const element = parts.find(({ local }) => local === 'owner')
  const owner = element === undefined ? '' : serializeContent(element)
  if (Buffer.byteLength(owner) > maxOwnerBytes) throw new DavError(413, 'the lock owner is too long')
  return { scope, owner }
}

/** Only callers who may write may lock. */
async function checkAccess(ctx: ViewContext, { inode, dir }: Target): Promise<void> {
  const { overlay, cred } = ctx.view
  if (overlay.readOnly) throw new OverlayError('EROFS', 'lock')
  if (inode !== undefined && !isVisible(inode)) throw new DavError(409, 'something else has this name')
  if (inode === undefined && dir === undefined) throw new DavError(409, 'the parent collection does not exist')
  if (inode === undefined && ctx.path.trailingSlash) throw new DavError(409, 'no such collection')
  if (inode !== undefined && (await overlay.access(cred, inode, Access.write)) === 0) {
    throw new OverlayError('EACCES', 'lock')
  }
}

/** A requested lock. */
interface LockWish extends LockRequest {
  readonly deep: boolean
}

/** The lock on or above the resource that conflicts with a new one, and with depth infinity also those below. */
function conflicts({ services, view }: ViewContext, { names, inode }: Target, { scope, deep }: LockWish) {
  const { locks } = services
  const excludes = (other: ActiveLock) => scope === LockScope.Exclusive || other.kind.scope === LockScope.Exclusive
  return {
    above: locksOn(locks, { view, names, inode }).find(excludes),
    below: deep ? firstOf(locks.below(view.id, names), excludes, services.limits.reportedFailures) : [],
  }
}

function firstOf(locks: Iterable<ActiveLock>, counts: (lock: ActiveLock) => boolean, limit: number): ActiveLock[] {
  const found: ActiveLock[] = []
  for (const lock of locks) {
    if (counts(lock)) found.push(lock)
    if (found.length >= limit) break
  }
  return found
}

/** Responds if locks conflict with a new one. @throws DavError 423 a conflicting lock is on or above the resource */
async function sendConflicts(ctx: ViewContext, target: Target, wish: LockWish): Promise<boolean> {
  const { above, below } = conflicts(ctx, target, wish)
  if (above !== undefined) {
    const href = hrefIn(ctx.view, above.names, false)
    throw new DavError(423, 'another lock conflicts', {
      condition: `<D:no-conflicting-lock><D:href>${href}</D:href></D:no-conflicting-lock>`,
    })
  }
  if (below.length === 0) return false
  const answer = new Multistatus(ctx)
  for (const { names } of below) {
    await answer.add(statusResponse(hrefIn(ctx.view, names, false), 423, '<D:no-conflicting-lock/>'))
  }
  await answer.add(statusResponse(hrefIn(ctx.view, ctx.path.names, true), 424))
  answer.end()
  return true
}

/** Creates the empty file for a lock on a free name. @returns the file; undefined if another client was faster */
async function createEmpty(
  ctx: ViewContext,
  { dir, name, names, view }: Target,
  guard: Guard,
): Promise<Inode | undefined> {
  requireMember(ctx.services, { view, names }, guard.tokens)
  requireRoom(ctx, { names, inode: undefined })
  try {
    return await view.overlay.create(view.cred, dir as Inode, name, { mode: NEW_FILE_MODE })
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return undefined
    throw error
  }
}

/** Checks that another lock may be taken on a resource. @throws DavError 503 */
function requireRoom({ services, view }: ViewContext, { names, inode }: Pick<Target, 'names' | 'inode'>): void {
  const { locks, limits } = services
  const full =
    isFull(locks.usage(), limits.locks, limits.lockBytes) ||
    isFull(locks.usage(view.holder), limits.locksPerUser, limits.lockBytesPerUser) ||
    locksOn(locks, { view, names, inode }).length >= limits.locksPerResource
  if (full) throw new DavError(503, 'too many locks')
}

function isFull({ locks, bytes }: LockUsage, mostLocks: number, mostBytes: number): boolean {
  return locks >= mostLocks || bytes >= mostBytes
}

/** Takes the lock in one step with the last check for conflicts; undefined if there is a conflict. @throws DavError 503 */
function take(
  ctx: ViewContext,
  target: Target,
  wish: LockWish,
): { readonly lock: ActiveLock; readonly kept: MaybePromise<void> } | undefined {
  requireRoom(ctx, target)
  const { above, below } = conflicts(ctx, target, wish)
  if (above !== undefined || below.length > 0) return undefined
  const { services, view } = ctx
  const seconds = parseTimeout(ctx.req.headers.timeout, services.limits.lockSeconds)
  const lock: ActiveLock = {
    token: `opaquelocktoken:${services.randomUUID()}`,
    view: view.id,
    ...view.holder,
    names: target.names,
    file: fileIdOf(target.inode),
    kind: new LockKind(wish.scope, LockType.Write, seconds),
    deep: wish.deep,
    owner: wish.owner,
    expiresMs: services.lockNow() + seconds * 1000,
  }
  return { lock, kept: services.locks.add(lock) }
}

/** Refreshes a lock (RFC 4918 section 9.10.2). @throws DavError 400 no token given · 403 it is of another user · 412 no such lock on this resource */
async function refresh(ctx: ViewContext, target: Target, guard: Guard, attr: Attr | undefined): Promise<void> {
  const { services } = ctx
  if (guard.tokens.size === 0) throw badRequest('a LOCK without a body needs a lock token in the If field')
  const held = locksOn(services.locks, target).find(({ token }) => guard.tokens.has(token))
  if (held === undefined) throw new DavError(412, 'no such lock on this resource')
  if (!isSameHolder(held, ctx.view.holder)) throw new DavError(403, 'this is the lock of another user')
  guard.verify(target.inode, attr)
  const seconds = parseTimeout(ctx.req.headers.timeout, services.limits.lockSeconds)
  const kind = new LockKind(held.kind.scope, LockType.Write, seconds)
  await services.locks.refresh(held.token, kind, services.lockNow() + seconds * 1000)
  sendLock(ctx, 200, services.locks.byToken(held.token) ?? held, [])
}

function sendLock(ctx: ViewContext, status: number, held: ActiveLock, headers: readonly string[]): void {
  const discovery = lockDiscovery(ctx.view, [held], ctx.services.lockNow())
  const body = `<?xml version="1.0" encoding="utf-8"?>\n<D:prop xmlns:D="DAV:"><D:lockdiscovery>${discovery}</D:lockdiscovery></D:prop>\n`
  sendBody(ctx, status, XML_TYPE, body, headers)
}
