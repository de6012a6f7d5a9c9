import { badRequest, DavError } from '../http/dav-error.ts'
import { parseDepth } from '../http/headers.ts'
import { rebindLocks } from '../locks/resource-locks.ts'
import { Failures } from '../request/failures.ts'
import { type AskedTime, askedTime } from '../request/modification-time.ts'
import { sendEmpty } from '../request/reply.ts'
import { type isDirectory, isVisible } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import {
  checkDestinationLocks,
  clearDestination,
  mustClear,
  prepareTransfer,
  type Transfer,
} from '../trees/transfer.ts'
import { copyTree } from '../trees/tree-copy.ts'

/**
 * COPY (RFC 4918 section 9.8): copies a file, or a collection alone (Depth 0) or with everything below, also between views. A file over a
 * file replaces it in one step, and other names of that file get the new content too, as with PUT; anything else at the destination is removed first.
 *
 * @throws DavError 403 into itself · 404 · 409 · 412 · 423 · 502
 */
export async function copy(ctx: ViewContext): Promise<void> {
  const depth = parseDepth(ctx.req.headers.depth, 'infinity')
  const time = askedTime(ctx)
  if (depth === 1) throw badRequest('COPY supports Depth 0 and infinity only')
  const transfer = await prepareTransfer(ctx, true, depth === 'infinity')
  if (!isVisible(transfer.source.inode)) throw new DavError(404, 'no such resource')
  await runCopy(ctx, transfer, depth === 'infinity', time)
}

/** Sets the requested time on the copy. @returns response fields for the client */
export async function setTimeAt(
  { view, dir, name }: Transfer['destination'],
  time: AskedTime,
): Promise<readonly string[]> {
  return time.isAsked ? await time.set(view, await view.overlay.lookup(view.cred, dir, name)) : []
}

/** Copies, then responds with 201, 204, or 207 with the failures. */
async function runCopy(ctx: ViewContext, transfer: Transfer, deep: boolean, time: AskedTime): Promise<void> {
  const failures = await copyTransfer(ctx, transfer, deep, true)
  if (failures.count > 0) return failures.send(ctx)
  const accepted = await setTimeAt(transfer.destination, time)
  sendEmpty(ctx, transfer.destination.inode === undefined ? 201 : 204, accepted)
}

/** Copies the source to the destination and replaces an existing object. Returns the failures. */
export async function copyTransfer(
  ctx: ViewContext,
  transfer: Transfer,
  deep: boolean,
  keepLinks: boolean,
): Promise<Failures> {
  const { source, destination, overwrite, guard } = transfer
  const clear = mustClear(transfer)
  if (clear) {
    const kept = await clearDestination(ctx, transfer)
    if (kept.count > 0) return kept
  }
  const failures = new Failures(ctx.services.limits.reportedFailures)
  const plan = {
    from: source.view,
    to: destination.view,
    source: source.inode,
    dir: destination.dir,
    names: destination.names,
    deep,
    keepLinks,
    check: (current: Parameters<typeof isDirectory>[0] | undefined) => {
      if (current !== undefined && !overwrite) throw new DavError(412, 'the destination already exists')
      checkDestinationLocks(ctx, { ...destination, inode: current }, guard)
    },
  }
  await copyTree(ctx, plan, failures)
  if (clear) await ctx.services.locks.removeTree(destination.view.id, destination.names, true)
  await rebindLocks(ctx.services, destination)
  return failures
}
