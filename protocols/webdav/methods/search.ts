import { type Inode, isErrno, loopBudget } from '../../../overlay-core/index.ts'
import { ClientGone } from '../http/client-gone.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { encodeSegment } from '../http/path.ts'
import { type Condition, readSearch, type SearchQuery } from '../properties/search-query.ts'
import { parseBody, readBody } from '../request/body.ts'
import { samePath } from '../request/guard.ts'
import { type Member, memberBatches } from '../request/members.ts'
import { statusResponse } from '../request/multistatus.ts'
import { parseReference } from '../request/reference.ts'
import { isDirectory, resolve, type Target } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'
import { addAll, begin, type Finding } from './propfind.ts'

/** A search whose conditions cost more than this per member examines proportionally fewer members. */
const PLAIN_COST = 8

type Collection = Target & { readonly inode: Inode }

/** A collection still to be searched, and its encoded path. */
interface Waiting {
  readonly base: string
  readonly collection: Collection
}

/**
 * SEARCH (RFC 5323) with DAV:basicsearch over names, sizes and times, in the scope's collection and below, without following symlinks to other
 * collections. If there are more matches than the limits allow, the response has a 507 for the scope.
 *
 * @throws DavError 400 · 403 a scope outside of the view · 404 · 422 a condition that is not supported
 */
export async function search(ctx: ViewContext): Promise<void> {
  const { services, view } = ctx
  const root = await parseBody(await readBody(ctx, services.limits.xmlBytes), services.limits)
  if (root === undefined) throw badRequest('SEARCH needs a body')
  const request = readSearch(root)
  const reference = parseReference(request.scope, ctx)
  if (typeof reference === 'string' || reference.view !== view) {
    throw new DavError(403, 'the scope is not in this view', { condition: '<D:search-scope-valid/>' })
  }
  const target = await resolve(view, reference.names, true)
  const { inode } = target
  if (inode === undefined || !isDirectory(inode)) {
    throw new DavError(404, 'no such collection', { condition: '<D:search-scope-valid/>' })
  }
  const finding = await begin(ctx, view, request.query, 0)
  const base = hrefIn(view, reference.names, true)
  const limit = Math.min(request.limit, services.limits.searchResults)
  const complete =
    request.depth === 0 || (await searchBelow(ctx, finding, { base, collection: { ...target, inode } }, request, limit))
  if (!complete) await finding.answer.add(statusResponse(base, 507))
  finding.answer.end()
}

/** Returns false if it stopped at a limit. */
async function searchBelow(
  ctx: ViewContext,
  finding: Finding,
  top: Waiting,
  { where, cost, depth }: SearchQuery,
  limit: number,
): Promise<boolean> {
  const waiting = [top]
  let found = 0
  let seen = 0
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (ctx.res.destroyed) throw new ClientGone()
    await loopBudget.rest()
    const { base, collection } = next
    try {
      for await (const members of memberBatches(collection)) {
        seen += members.length * Math.max(1, cost / PLAIN_COST)
        const matching = await matchingOf(members, where, limit - found)
        found += matching.length
        await addAll(finding, base, matching)
        if (found >= limit || seen >= ctx.services.limits.searchedMembers) return false
        if (depth !== 'infinity') continue
        for (const { name, names, collection: deeper, inode } of members) {
          if (loopBudget.spent) await loopBudget.rest()
          if (!deeper || inode === undefined || !samePath(names, [...collection.names, name])) continue
          const below = { view: finding.view, names, dir: collection.inode, name, inode }
          waiting.push({ base: `${base}${encodeSegment(name)}/`, collection: below })
        }
      }
    } catch (error) {
      // Skip a collection that was removed meanwhile or may not be read.
      if (next === top || !isErrno(error, 'ESTALE', 'EACCES')) throw error
    }
  }
  return true
}

/** The first `most` matching members. */
async function matchingOf(members: readonly Member[], where: Condition, most: number): Promise<Member[]> {
  const matching: Member[] = []
  for (const member of members) {
    if (loopBudget.spent) await loopBudget.rest()
    if (matching.length >= most) break
    if (where(member)) matching.push(member)
  }
  return matching
}
