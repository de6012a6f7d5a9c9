import { type Inode, LargeMap, loopBudget } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { parseDepth } from '../http/headers.ts'
import { limitOf, textIn } from '../http/limit.ts'
import { encodeSegment } from '../http/path.ts'
import { childElements } from '../http/xml.ts'
import { escapeText } from '../http/xml-write.ts'
import { type PropfindQuery, readProperties } from '../properties/propfind-query.ts'
import { parseBody, readBody } from '../request/body.ts'
import { verifyAll } from '../request/guard.ts'
import { type Member, memberBatches } from '../request/members.ts'
import { statusResponse } from '../request/multistatus.ts'
import { isDirectory, resolve, type Target } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'
import { memberBytes, type Snapshot } from '../state/sync-store.ts'
import { addAll, begin, type Finding } from './propfind.ts'

const NOTHING: Snapshot = new LargeMap()

/** A DAV:sync-collection body. */
interface SyncRequest {
  /** Empty for the initial synchronization. */
  readonly token: string
  readonly limit: number
  readonly query: PropfindQuery
}

/**
 * REPORT with DAV:sync-collection (RFC 6578): the members of a collection that were added, changed or removed since the token was issued, and a new token.
 * Level 1 only.
 *
 * @throws DavError 403 another report, another level, an unknown or expired token · 404
 */
export async function report(ctx: ViewContext): Promise<void> {
  if (parseDepth(ctx.req.headers.depth, 0) !== 0) throw badRequest('sync-collection needs Depth 0')
  const request = await readRequest(ctx)
  const target = await resolve(ctx.view, ctx.path.names, true)
  const { inode } = target
  if (inode === undefined) throw new DavError(404, 'no such resource')
  if (!isDirectory(inode))
    throw new DavError(403, 'only a collection can be synchronized', { condition: '<D:supported-report/>' })
  await verifyAll(ctx, target, inode, await ctx.view.overlay.getattr(inode))
  await answer(ctx, { ...target, inode }, request)
}

async function answer(
  ctx: ViewContext,
  collection: Target & { readonly inode: Inode },
  request: SyncRequest,
): Promise<void> {
  const { syncs } = ctx.services
  const { view } = ctx
  // An identity, not a path: a collection that replaces another one is a different one.
  const place = `${view.id}/${collection.inode.key}.${collection.inode.generation}`
  const before = request.token === '' ? NOTHING : syncs.find(place, request.token)
  if (before === undefined) throw new DavError(403, 'the sync token is unknown', { condition: '<D:valid-sync-token/>' })
  const finding = await begin(ctx, view, request.query, 0)
  const base = hrefIn(view, ctx.path.names, true)
  const { now, bytes, cut } = await addChanges(finding, base, collection, before, request.limit)
  if (cut) await finding.answer.add(statusResponse(base, 507, '<D:number-of-matches-within-limits/>'))
  const same = request.token !== '' && (await sameState(before, now))
  const token = same ? request.token : syncs.keep(place, now, bytes)
  await finding.answer.add(`<D:sync-token>${escapeText(token)}</D:sync-token>`)
  finding.answer.end()
}

/** Adds the differences to `before`. Returns the state that the client then has, its size, and whether the limit cut off more differences. */
async function addChanges(
  finding: Finding,
  base: string,
  collection: Target & { readonly inode: Inode },
  before: Snapshot,
  limit: number,
): Promise<{ now: Snapshot; bytes: number; cut: boolean }> {
  const now = new LargeMap<string, string>()
  let bytes = 0
  const keep = (name: string, signature: string) => {
    now.set(name, signature)
    bytes += memberBytes(name, signature)
  }
  const gone = new LargeMap<string, true>()
  for (const name of before.keys()) {
    if (loopBudget.spent) await loopBudget.rest()
    gone.set(name, true)
  }
  let room = limit
  let cut = false
  for await (const members of memberBatches(collection)) {
    const changed: Member[] = []
    for (const member of members) {
      if (loopBudget.spent) await loopBudget.rest()
      const { name } = member
      gone.delete(name)
      const old = before.get(name)
      const signature = signatureOf(member)
      if (old === signature) keep(name, signature)
      else if (room > 0) {
        room--
        keep(name, signature)
        changed.push(member)
      } else {
        cut = true
        if (old !== undefined) keep(name, old)
      }
    }
    await addAll(finding, base, changed)
  }
  for (const name of gone.keys()) {
    if (loopBudget.spent) await loopBudget.rest()
    const old = before.get(name) as string
    if (room > 0) {
      room--
      await finding.answer.add(statusResponse(`${base}${encodeSegment(name)}${old.startsWith('/') ? '/' : ''}`, 404))
    } else {
      cut = true
      keep(name, old)
    }
  }
  return { now, bytes, cut }
}

/** A signature that changes if another object has the name, or its content or properties change. A collection's starts with a slash. */
function signatureOf({ collection, inode, attr }: Member): string {
  if (inode === undefined || attr === undefined) return collection ? '/' : ''
  const { ctime, mtime, size } = attr
  return `${collection ? '/' : ''}${inode.key}.${inode.generation}.${size}.${mtime.sec}.${mtime.nsec}.${ctime.sec}.${ctime.nsec}`
}

async function sameState(a: Snapshot, b: Snapshot): Promise<boolean> {
  if (a.size !== b.size) return false
  for (const [name, signature] of a) {
    if (loopBudget.spent) await loopBudget.rest()
    if (b.get(name) !== signature) return false
  }
  return true
}

async function readRequest(ctx: ViewContext): Promise<SyncRequest> {
  const root = await parseBody(await readBody(ctx, ctx.services.limits.xmlBytes), ctx.services.limits)
  if (root === undefined) throw badRequest('REPORT needs a body')
  if (root.uri !== 'DAV:' || root.local !== 'sync-collection') {
    throw new DavError(403, 'this report is not supported', { condition: '<D:supported-report/>' })
  }
  const children = childElements(root).filter(({ uri }) => uri === 'DAV:')
  const find = (local: string) => children.find((child) => child.local === local)
  const token = find('sync-token')
  const level = textIn(find('sync-level'))
  const prop = find('prop')
  if (token === undefined || prop === undefined) throw badRequest('the body has no DAV:sync-token or no DAV:prop')
  if (level === 'infinite') {
    throw new DavError(403, 'only sync-level 1 is supported', { condition: '<D:sync-traversal-supported/>' })
  }
  // Drafts of the RFC used Depth 1.
  if (level !== '1' && level !== '') throw badRequest('the sync level is not 1 or infinite')
  return { token: textIn(token), limit: limitOf(find('limit')), query: readProperties(prop) }
}
