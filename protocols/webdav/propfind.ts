import { type Attr, type Inode, isErrno, type Name } from '../../overlay-core/index.ts'
import { parseBody, readBody } from './body.ts'
import type { DavContext, ServedView, ViewContext } from './context.ts'
import { DavError } from './dav-error.ts'
import { type DeadProperty, knownDead, learnDead } from './dead-properties.ts'
import { verifyIf } from './guard.ts'
import { type Depth, parseDepth } from './headers.ts'
import { type Member, memberBatches } from './members.ts'
import { Multistatus, statusResponse } from './multistatus.ts'
import { encodeSegment, hrefOf, nameOfText } from './path.ts'
import type { Moment } from './properties.ts'
import { ALL_PROPERTIES, type PropfindQuery, readPropfind } from './propfind-query.ts'
import { isDirectory, isVisible, resolve, type Target } from './resolve.ts'

type DeadList = (readonly DeadProperty[])[]
const NO_DEAD: readonly DeadProperty[] = []
const REMEMBERED_QUERIES = 8
const REMEMBERED_BYTES = 4096

/** Parsed bodies: a client sends the same few again and again. */
const queries = new Map<string, PropfindQuery>()

/** PROPFIND (RFC 4918 section 9.1) inside a view: Depth 0 and 1, streamed. @throws DavError 403 Depth infinity · 404 */
export async function propfind(ctx: ViewContext): Promise<void> {
  const depth = finiteDepth(ctx)
  const query = await readQuery(ctx)
  const target = await resolve(ctx.view, ctx.path.names, true)
  const { inode } = target
  if (inode === undefined || !isVisible(inode)) throw new DavError(404, 'there is no such resource')
  const attr = await ctx.view.overlay.getattr(inode)
  await verifyIf(ctx, target, inode, attr)
  const moment = await currentMoment(ctx, ctx.view, query)
  const answer = new Multistatus(ctx)
  const { base, name } = place(ctx)
  const self: Member = { name, names: target.names, collection: isDirectory(inode), inode, attr }
  const [dead] = await deadOf(ctx.view, [self], query)
  await answer.add(writeMember(ctx.view, base, self, query, moment, dead))
  if (depth === 1 && isDirectory(inode)) {
    const below = hrefOf(ctx.view.root, ctx.path.names, true)
    await addMembers(answer, ctx.view, below, { ...target, inode }, query, moment)
  }
  answer.end()
}

/** PROPFIND on `/`: a collection of the views, which has no properties of its own but its type and name. */
export async function propfindRoot(ctx: DavContext): Promise<void> {
  const depth = finiteDepth(ctx)
  const query = await readQuery(ctx)
  const answer = new Multistatus(ctx)
  await answer.add(
    '<D:response><D:href>/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>' +
      '<D:displayname>/</D:displayname></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>',
  )
  if (depth === 1) {
    for (const view of ctx.services.views.values()) {
      const inode = view.overlay.root
      const moment = await currentMoment(ctx, view, query)
      const attr = await view.overlay.getattr(inode)
      const member: Member = { name: nameOfText(view.name), names: [], collection: true, inode, attr }
      const [dead] = await deadOf(view, [member], query)
      await answer.add(writeMember(view, '/', member, query, moment, dead))
    }
  }
  answer.end()
}

async function addMembers(
  answer: Multistatus,
  view: ServedView,
  base: string,
  collection: Target & { readonly inode: Inode },
  query: PropfindQuery,
  moment: Moment,
): Promise<void> {
  for await (const members of memberBatches(collection)) {
    const dead = await deadOf(view, members, query)
    for (let i = 0; i < members.length; i++) {
      const slow = answer.add(writeMember(view, base, members[i], query, moment, dead[i]))
      if (slow !== undefined) await slow
    }
  }
}

/** The encoded path of the parent of what the request asks for, and its name in there. */
function place({ view, path }: ViewContext): { base: string; name: Name } {
  const { names } = path
  if (names.length === 0) return { base: '/', name: nameOfText(view.name) }
  return { base: hrefOf(view.root, names.slice(0, -1), true), name: names[names.length - 1] }
}

function writeMember(
  view: ServedView,
  base: string,
  { name, names, collection, inode, attr }: Member,
  query: PropfindQuery,
  moment: Moment,
  dead: readonly DeadProperty[],
): string | Uint8Array {
  if (inode !== undefined && attr !== undefined) {
    return query.response(base, { view, name, names, inode, attr }, moment, dead)
  }
  return statusResponse(`${base}${encodeSegment(name)}${collection ? '/' : ''}`, 403)
}

/** The dead properties of each member, as far as the query asks for any. */
async function deadOf(view: ServedView, members: readonly Member[], query: PropfindQuery): Promise<DeadList> {
  const dead = new Array<readonly DeadProperty[]>(members.length).fill(NO_DEAD)
  if (!query.needsDead) return dead
  const reading: Promise<void>[] = []
  for (let i = 0; i < members.length; i++) {
    const { inode, attr } = members[i]
    if (inode === undefined || attr === undefined) continue
    const known = knownDead(attr)
    if (known !== undefined) dead[i] = known
    else reading.push(readInto(dead, i, view, inode, attr))
  }
  await Promise.all(reading)
  return dead
}

async function readInto(dead: DeadList, i: number, view: ServedView, inode: Inode, attr: Attr): Promise<void> {
  try {
    dead[i] = await learnDead(view, inode, attr)
  } catch (error) {
    // A member that went while the listing ran must not spoil the rest of it.
    if (!isErrno(error, 'ESTALE', 'ENOENT', 'EACCES')) throw error
  }
}

async function currentMoment(ctx: DavContext, view: ServedView, query: PropfindQuery): Promise<Moment> {
  return { services: ctx.services, statfs: query.needsSpace ? await view.overlay.statfs() : undefined }
}

function finiteDepth(ctx: DavContext): Depth {
  const depth = parseDepth(ctx.req.headers.depth, 'infinity')
  if (depth === 'infinity') {
    throw new DavError(403, 'Depth infinity is not served', { condition: '<D:propfind-finite-depth/>' })
  }
  return depth
}

async function readQuery(ctx: DavContext): Promise<PropfindQuery> {
  const body = await readBody(ctx, ctx.services.limits.xmlBytes)
  if (body.length === 0) return ALL_PROPERTIES
  if (body.length > REMEMBERED_BYTES) return parseQuery(ctx, body)
  const key = body.toString('latin1')
  const known = queries.get(key)
  if (known !== undefined) return known
  const query = await parseQuery(ctx, body)
  // A Map keeps the order of insertion: the oldest goes.
  for (const oldest of queries.keys()) if (queries.size >= REMEMBERED_QUERIES) queries.delete(oldest)
  queries.set(key, query)
  return query
}

async function parseQuery(ctx: DavContext, body: Buffer): Promise<PropfindQuery> {
  const root = await parseBody(body, ctx.services.limits)
  return root === undefined ? ALL_PROPERTIES : readPropfind(root)
}
