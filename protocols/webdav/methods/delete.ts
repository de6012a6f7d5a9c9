import { badRequest, DavError } from '../http/dav-error.ts'
import { parseDepth } from '../http/headers.ts'
import { Failures, sendLocked } from '../request/failures.ts'
import { prepareGuard } from '../request/guard.ts'
import { obstaclesBelow, requireMember } from '../request/lock-check.ts'
import { sendEmpty } from '../request/reply.ts'
import { isDirectory, resolve } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import { deleteTree } from '../trees/tree-delete.ts'

/**
 * DELETE (RFC 4918 section 9.6): removes a file, a symlink itself, or a collection with everything below. Nothing is removed if a member is
 * locked; members that cannot be removed are listed in a multistatus.
 *
 * @throws DavError 403 the root · 404 · 412 · 423
 */
export async function remove(ctx: ViewContext): Promise<void> {
  const { view, path, services } = ctx
  const target = await resolve(view, path.names, false)
  const { dir, inode } = target
  if (inode === undefined) throw new DavError(404, 'no such resource')
  if (dir === undefined) throw new DavError(403, 'the root of a view cannot be deleted')
  if (isDirectory(inode) && parseDepth(ctx.req.headers.depth, 'infinity') !== 'infinity') {
    throw badRequest('a collection can be deleted with Depth infinity only')
  }
  const guard = await prepareGuard(ctx, target)
  const checkLocks = () => requireMember(services, target, guard.tokens)
  guard.verify(inode, await view.overlay.getattr(inode), checkLocks)
  const locked = obstaclesBelow(services, target, guard.tokens)
  if (locked.length > 0) return sendLocked(ctx, view, locked)
  if (isDirectory(inode)) {
    const failures = new Failures(services.limits.reportedFailures)
    await deleteTree(view, dir, target.names, inode, failures)
    if (failures.count > 0) return failures.send(ctx)
  } else {
    await view.overlay.unlink(view.cred, dir, target.name, undefined, (victim) => {
      if (victim.key !== inode.key) guard.verify(victim, undefined, checkLocks)
      else checkLocks()
    })
  }
  await services.locks.removeTree(view.id, target.names, false)
  sendEmpty(ctx, 204)
}
