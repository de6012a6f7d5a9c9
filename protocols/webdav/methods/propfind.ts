import { LRUCache } from 'lru-cache'
import {
  type Attr,
  after,
  FileType,
  type Inode,
  isErrno,
  loopBudget,
  type MaybePromise,
  type Name,
} from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { type Depth, parseDepth } from '../http/headers.ts'
import { encodeSegment, nameOfText } from '../http/path.ts'
import { escapeText } from '../http/xml-write.ts'
import { type DeadProperty, knownDead, learnDead } from '../properties/dead-properties.ts'
import type { Moment } from '../properties/properties.ts'
import { ALL_PROPERTIES, type PropfindQuery, readPropfind } from '../properties/propfind-query.ts'
import { parseBody, readBody } from '../request/body.ts'
import { samePath, verifyAll } from '../request/guard.ts'
import { type Member, memberBatches } from '../request/members.ts'
import { Multistatus, statusResponse } from '../request/multistatus.ts'
import { isDirectory, isVisible, resolve, type Target } from '../request/resolve.ts'
import { lookAgain } from '../request/stale.ts'
import { placeOfRoot, sharedViews, viewLists } from '../request/view-lists.ts'
import type { Sums } from '../state/checksums.ts'
import type { DavContext, DavView, ViewContext } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'

type DeadList = (readonly DeadProperty[])[]
const NO_DEAD: readonly DeadProperty[] = []
const REMEMBERED_QUERIES = 8
const REMEMBERED_BYTES = 4096
/** The number of members whose properties are read concurrently. */
const READ_AT_ONCE = 16

/** Parsed bodies, because clients repeat the same few. */
const queries = new LRUCache<string, PropfindQuery>({ max: REMEMBERED_QUERIES })

/** The number of bytes read per response to compute checksums of members; those of a single resource are always computed. */
const SUMMED_BYTES = 64 * 1024 * 1024

/** The target of a request that exists. */
type Found = Target & { readonly inode: Inode }

/** A response being built. */
export interface Finding {
  readonly ctx: DavContext
  readonly view: DavView
  readonly answer: Multistatus
  readonly query: PropfindQuery
  readonly moment: Moment
  readonly depth: Depth
  /** Bytes that may still be read for checksums. */
  sumBytes: number
}

/**
 * PROPFIND (RFC 4918 section 9.1) inside a view, streamed: Depth 0, 1 and, if the operator allows it, infinity.
 * @throws DavError 403 Depth infinity · 404
 */
export function propfind(ctx: ViewContext): MaybePromise<void> {
  const depth = parseDepth(ctx.req.headers.depth, 'infinity')
  return after(readQuery(ctx), (query) => lookAgain(ctx, () => answerOnce(ctx, query, depth)))
}

function answerOnce(ctx: ViewContext, query: PropfindQuery, depth: Depth): MaybePromise<void> {
  return after(resolve(ctx.view, ctx.path.names, true), (target) => {
    const { inode } = target
    if (inode === undefined || !isVisible(inode)) throw new DavError(404, 'no such resource')
    // A resource without members is covered by any depth.
    if (isDirectory(inode)) refuseInfinity(ctx, depth)
    return after(ctx.view.overlay.getattr(inode), (attr) =>
      after(verifyAll(ctx, target, inode, attr), () =>
        after(begin(ctx, ctx.view, query, depth), (finding) => describe(ctx, finding, { ...target, inode }, attr)),
      ),
    )
  })
}

/** Answers with the resource and, if requested, what is below it. */
function describe(ctx: ViewContext, finding: Finding, target: Found, attr: Attr): MaybePromise<void> {
  const { names, inode } = target
  const { base, name } = place(ctx)
  const collection = isDirectory(inode)
  const self: Member = { name, names, collection, inode, attr }
  if (collection && finding.depth !== 0) return describeAll(ctx, finding, target, base, self)
  return after(addOne(finding, base, self), () => finding.answer.end())
}

async function describeAll(
  ctx: ViewContext,
  finding: Finding,
  target: Found,
  base: string,
  self: Member,
): Promise<void> {
  await addOne(finding, base, self)
  await addMembers(finding, hrefIn(ctx.view, ctx.path.names, true), target)
  finding.answer.end()
}

/** PROPFIND on `/` or on a template: a collection of views, whose only properties are its type and name. */
export async function propfindRoot(ctx: DavContext): Promise<void> {
  const depth = parseDepth(ctx.req.headers.depth, 'infinity')
  refuseInfinity(ctx, depth)
  const query = await readQuery(ctx)
  const answer = new Multistatus(ctx)
  const { template } = ctx
  const base = template === undefined ? '/' : `/${encodeSegment(nameOfText(template.name))}/`
  await answer.add(listOfViews(base, template?.name ?? '/'))
  if (depth !== 0)
    for (const name of viewLists(ctx)) await answer.add(listOfViews(`${base}${encodeSegment(nameOfText(name))}/`, name))
  if (depth !== 0 && template === undefined) {
    for (const view of sharedViews(ctx)) {
      const inode = view.overlay.root
      const attr = await view.overlay.getattr(inode)
      const member: Member = { name: nameOfText(view.name), names: [], collection: true, inode, attr }
      const finding = await begin(ctx, view, query, depth, answer)
      await addAll(finding, '/', [member])
      const top = { view, names: [], dir: undefined, name: '', inode }
      if (depth === 'infinity') await addMembers(finding, view.root, top)
    }
  }
  answer.end()
}

function listOfViews(href: string, name: string): string {
  return (
    `<D:response><D:href>${href}</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>` +
    `<D:displayname>${escapeText(name)}</D:displayname></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`
  )
}

/** Starts a 207 response with the properties that `query` requests for resources of a view. */
export function begin(
  ctx: DavContext,
  view: DavView,
  query: PropfindQuery,
  depth: Depth,
  answer = new Multistatus(ctx),
): MaybePromise<Finding> {
  return after(query.needsSpace ? view.overlay.statfs() : undefined, (statfs) => {
    const moment = { services: ctx.services, statfs }
    return { ctx, view, answer, query, moment, depth, sumBytes: SUMMED_BYTES }
  })
}

/** Adds the members of a collection at the encoded path `base`, and with Depth infinity everything below. */
async function addMembers(finding: Finding, base: string, collection: Found): Promise<void> {
  for await (const members of memberBatches(collection)) {
    await addAll(finding, base, members)
    if (finding.depth !== 'infinity') continue
    for (const { name, names, collection: deeper, inode } of members) {
      // The target of a symlink is shown but not entered, because it may lead upward.
      if (!deeper || inode === undefined || !samePath(names, [...collection.names, name])) continue
      const target = { view: finding.view, names, dir: collection.inode, name, inode }
      await addDeeper(finding, `${base}${encodeSegment(name)}/`, target)
    }
  }
}

async function addDeeper(finding: Finding, base: string, collection: Found): Promise<void> {
  try {
    await addMembers(finding, base, collection)
  } catch (error) {
    // A collection that was removed meanwhile, or may not be read, is listed without its members.
    if (!isErrno(error, 'ESTALE', 'EACCES')) throw error
  }
}

/** Adds a single resource: at once if everything about it is known. */
function addOne(finding: Finding, base: string, member: Member): MaybePromise<void> {
  const { view, answer, query, moment } = finding
  const { attr } = member
  const dead = !query.needsDead ? NO_DEAD : attr && knownDead(attr)
  if (query.needsSums || dead === undefined) return addAll(finding, base, [member])
  return answer.addBytes(writeMember(view, base, member, query, moment, dead, undefined))
}

/** Adds the members of the collection at the encoded path `base`. */
export async function addAll(finding: Finding, base: string, members: readonly Member[]): Promise<void> {
  const { view, answer, query, moment } = finding
  const dead = await deadOf(view, members, query)
  for (let i = 0; i < members.length; i++) {
    if (loopBudget.spent) await loopBudget.rest()
    const sums = query.needsSums ? await sumsOf(finding, members[i], members.length === 1) : undefined
    const slow = answer.addBytes(writeMember(view, base, members[i], query, moment, dead[i], sums))
    if (slow !== undefined) await slow
  }
}

/** The checksums: always for a single resource, and for others within the limit of read bytes. */
async function sumsOf(finding: Finding, { inode, attr }: Member, alone: boolean): Promise<Sums | undefined> {
  if (inode?.type !== FileType.regular || attr === undefined) return undefined
  const { ctx, view } = finding
  const { checksums } = ctx.services
  if (!alone && attr.size > finding.sumBytes) return checksums.known(view, inode, attr)
  finding.sumBytes -= attr.size
  return checksums.compute(ctx, view, inode, attr)
}

/** The encoded path of the parent of the requested resource, and its name there. */
function place({ view, path }: ViewContext): { base: string; name: Name } {
  const { names } = path
  if (names.length <= view.hidden) return placeOfRoot(view)
  return { base: hrefIn(view, names.slice(0, -1), true), name: names[names.length - 1] }
}

function writeMember(
  view: DavView,
  base: string,
  { name, names, collection, inode, attr }: Member,
  query: PropfindQuery,
  moment: Moment,
  dead: readonly DeadProperty[],
  sums: Sums | undefined,
): string {
  if (inode !== undefined && attr !== undefined) {
    return query.response(base, { view, name, names, inode, attr, sums }, moment, dead)
  }
  return statusResponse(`${base}${encodeSegment(name)}${collection ? '/' : ''}`, 403)
}

/** The dead properties of each member, if the query requests any. */
async function deadOf(view: DavView, members: readonly Member[], query: PropfindQuery): Promise<DeadList> {
  const dead = new Array<readonly DeadProperty[]>(members.length).fill(NO_DEAD)
  if (!query.needsDead) return dead
  let reading: Promise<void>[] = []
  for (let i = 0; i < members.length; i++) {
    if (loopBudget.spent) await loopBudget.rest()
    const { inode, attr } = members[i]
    if (inode === undefined || attr === undefined) continue
    const known = knownDead(attr)
    if (known !== undefined) dead[i] = known
    else reading.push(readInto(dead, i, view, inode, attr))
    // Properties are parsed in one turn, so do not read too many at a time.
    if (reading.length < READ_AT_ONCE) continue
    await Promise.all(reading)
    reading = []
  }
  await Promise.all(reading)
  return dead
}

async function readInto(dead: DeadList, i: number, view: DavView, inode: Inode, attr: Attr): Promise<void> {
  try {
    dead[i] = await learnDead(view, inode, attr)
  } catch (error) {
    // A member that was removed during the listing must not break the rest of it.
    if (!isErrno(error, 'ESTALE', 'ENOENT', 'EACCES')) throw error
  }
}

/** Allows a whole tree only if the operator does. @throws DavError 403 */
function refuseInfinity({ services }: DavContext, depth: Depth): void {
  if (depth !== 'infinity' || services.depthInfinity) return
  throw new DavError(403, 'Depth infinity is not allowed; use Depth 1, or start the server with --depth-infinity', {
    condition: '<D:propfind-finite-depth/>',
  })
}

function readQuery(ctx: DavContext): MaybePromise<PropfindQuery> {
  return after(readBody(ctx, ctx.services.limits.xmlBytes), (body) => {
    if (body.length === 0) return ALL_PROPERTIES
    if (body.length > REMEMBERED_BYTES) return parseQuery(ctx, body)
    const key = body.toString('latin1')
    return queries.get(key) ?? learnQuery(ctx, body, key)
  })
}

async function learnQuery(ctx: DavContext, body: Buffer, key: string): Promise<PropfindQuery> {
  const query = await parseQuery(ctx, body)
  queries.set(key, query)
  return query
}

async function parseQuery(ctx: DavContext, body: Buffer): Promise<PropfindQuery> {
  const root = await parseBody(body, ctx.services.limits)
  return root === undefined ? ALL_PROPERTIES : readPropfind(root)
}
