import { isErrno } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { parseDepth } from '../http/headers.ts'
import { rebindLocks } from '../locks/resource-locks.ts'
import { Failures, sendLocked } from '../request/failures.ts'
import { obstaclesBelow, requireMember } from '../request/lock-check.ts'
import { askedTime } from '../request/modification-time.ts'
import { sendEmpty } from '../request/reply.ts'
import { isDirectory } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import {
  checkDestinationLocks,
  clearDestination,
  mustClear,
  prepareTransfer,
  type Transfer,
} from '../trees/transfer.ts'
import { deleteTree } from '../trees/tree-delete.ts'
import { copyTransfer, setTimeAt } from './copy.ts'

/**
 * MOVE (RFC 4918 section 9.9): one rename, also for whole collections. If a rename is impossible (to another view, or a directory
 * with redirect_dir=off), it is a copy followed by a removal. Locks are not moved.
 *
 * @throws DavError 400 a collection with another Depth than infinity · 403 into itself · 404 · 409 · 412 · 423 · 502
 */
export async function move(ctx: ViewContext): Promise<void> {
  const { services } = ctx
  const time = askedTime(ctx)
  const transfer = await prepareTransfer(ctx, false, true)
  const { source, destination, guard } = transfer
  if (source.dir === undefined) throw new DavError(403, 'the root of a view cannot be moved')
  if (isDirectory(source.inode) && parseDepth(ctx.req.headers.depth, 'infinity') !== 'infinity') {
    throw badRequest('a collection can be moved with Depth infinity only')
  }
  requireMember(services, source, guard.tokens)
  const locked = obstaclesBelow(services, source, guard.tokens)
  if (locked.length > 0) return sendLocked(ctx, ctx.view, locked)
  const failures = (await renameTransfer(ctx, transfer)) ?? (await copyAndRemove(ctx, transfer))
  if (failures.count > 0) return failures.send(ctx)
  await services.locks.removeTree(source.view.id, source.names, false)
  await services.locks.removeTree(destination.view.id, destination.names, true)
  await rebindLocks(services, destination)
  const accepted = await setTimeAt(destination, time)
  sendEmpty(ctx, destination.inode === undefined ? 201 : 204, accepted)
}

/** Moves by a rename; undefined if that is impossible, with the source unchanged. */
async function renameTransfer(ctx: ViewContext, transfer: Transfer): Promise<Failures | undefined> {
  const { source, destination, guard } = transfer
  if (source.view.id !== destination.view.id) return undefined
  const { overlay, cred } = source.view
  const clear = mustClear(transfer)
  if (clear) {
    const kept = await clearDestination(ctx, transfer)
    if (kept.count > 0) return kept
  }
  const replace = destination.inode !== undefined && !clear
  try {
    await overlay.rename(cred, source.dir!, source.name, destination.dir, destination.name, {
      noReplace: !replace,
      check: (moved, replaced) => {
        if (moved.key !== source.inode.key) throw new DavError(409, 'the source was replaced during the request')
        checkDestinationLocks(ctx, { ...destination, inode: replaced }, guard)
      },
    })
  } catch (error) {
    if (isErrno(error, 'EXDEV')) return undefined
    if (isErrno(error, 'EEXIST')) throw new DavError(transfer.overwrite ? 409 : 412, 'the destination already exists')
    throw error
  }
  return new Failures(0)
}

async function copyAndRemove(ctx: ViewContext, transfer: Transfer): Promise<Failures> {
  const { source, destination } = transfer
  // After a refused rename, the destination may already be removed.
  const failures = await copyTransfer(ctx, transfer, true, false)
  if (failures.count > 0 || source.dir === undefined) return failures
  await deleteTree(source.view, source.dir, source.names, source.inode, failures)
  if (failures.count > 0)
    ctx.services.log.warn(
      { destination: destination.names.length },
      'webdav: moved by copying, but could not remove all of the source',
    )
  return failures
}
