import { FileType, type Inode } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { parseOverwrite } from '../http/headers.ts'
import { Failures } from '../request/failures.ts'
import { type Guard, prepareGuard } from '../request/guard.ts'
import { lockedError, obstaclesBelow, requireMember, requireResource } from '../request/lock-check.ts'
import { openReference } from '../request/reference.ts'
import { isDirectory, resolve, startsWith, type Target } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import { deleteTree } from './tree-delete.ts'

/** A COPY or MOVE whose header fields and paths have been checked. */
export interface Transfer {
  readonly source: Target & { readonly inode: Inode }
  readonly destination: Target & { readonly dir: Inode }
  readonly overwrite: boolean
  readonly guard: Guard
}

/**
 * Parses the common parts of COPY and MOVE (RFC 4918 sections 9.8, 9.9): source, Destination, Overwrite, conditions, and the locks
 * on the destination.
 *
 * @param follow whether a symlink as the source is followed
 * @param deep whether members are included
 * @throws DavError 400 · 403 onto or into itself, out of all views, or where the client may only read · 404 · 409 no parent · 412 · 423 · 502 another server
 */
export async function prepareTransfer(ctx: ViewContext, follow: boolean, deep: boolean): Promise<Transfer> {
  const overwrite = parseOverwrite(ctx.req.headers.overwrite)
  const source = await resolve(ctx.view, ctx.path.names, follow)
  const { inode } = source
  if (inode === undefined) throw new DavError(404, 'no such resource')
  const destination = await resolveDestination(ctx)
  refuseOverlap(source, destination, deep)
  const guard = await prepareGuard(ctx, source)
  const attr = await ctx.view.overlay.getattr(inode)
  guard.verifyIf(inode, attr)
  const { dir } = destination
  if (dir === undefined) {
    if (destination.names.length === 0) throw new DavError(403, 'the root of a view cannot be replaced')
    throw new DavError(409, 'the parent collection of the destination does not exist')
  }
  if (destination.inode !== undefined && !overwrite) throw new DavError(412, 'the destination already exists')
  guard.verify(inode, attr, () => checkDestinationLocks(ctx, destination, guard))
  return { source: { ...source, inode }, destination: { ...destination, dir }, overwrite, guard }
}

async function resolveDestination(ctx: ViewContext): Promise<Target> {
  const field = ctx.req.headers.destination
  if (field === undefined) throw badRequest('the Destination field is missing')
  const reference = await openReference(String(field), ctx)
  if (reference === 'foreign') throw new DavError(502, 'the destination is on another server')
  if (reference === 'outside') throw new DavError(403, 'the destination is not in a view')
  return resolve(reference.view, reference.names, false)
}

function refuseOverlap(source: Target, destination: Target, deep: boolean): void {
  if (source.view.id !== destination.view.id) return
  const same = source.names.length === destination.names.length
  if (startsWith(destination.names, source.names) && (same || deep)) {
    throw new DavError(403, 'the destination is the source or inside it')
  }
  if (startsWith(source.names, destination.names)) throw new DavError(403, 'the source is inside the destination')
}

/** Requires the tokens of the locks on the destination. Safe to call inside a `check` of the core. @throws DavError 423 */
export function checkDestinationLocks({ services }: ViewContext, destination: Target, guard: Guard): void {
  if (destination.inode === undefined) requireMember(services, destination, guard.tokens)
  else requireResource(services, destination, guard.tokens)
  const [locked] = obstaclesBelow(services, destination, guard.tokens, 1)
  if (locked !== undefined) throw lockedError(destination.view, locked)
}

/** Whether the destination must be removed before the source can replace it. */
export function mustClear({ source, destination }: Transfer): boolean {
  const present = destination.inode
  if (present === undefined) return false
  return isDirectory(present) || isDirectory(source.inode) || present.type !== FileType.regular
}

/** Removes the object at the destination. Returns the failures, if any. */
export async function clearDestination(ctx: ViewContext, { destination }: Transfer): Promise<Failures> {
  const failures = new Failures(ctx.services.limits.reportedFailures)
  const { view, dir, names, inode } = destination
  if (inode !== undefined) await deleteTree(view, dir, names, inode, failures)
  return failures
}
