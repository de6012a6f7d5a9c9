import { isErrno } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import { fileIdOf } from '../locks/resource-locks.ts'
import { announcedLength } from '../request/body.ts'
import { prepareGuard } from '../request/guard.ts'
import { requireMember } from '../request/lock-check.ts'
import { lastModified, sendEmpty } from '../request/reply.ts'
import { isDirectory, resolve } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'

/**
 * POST with the field `Overlay-Action: restore`: discards the change of a file, or the removal of anything, so that the lower's version is visible again.
 * Pages of other origins cannot make a browser do this, because they may not send such a field.
 *
 * @throws DavError 400 another action · 409 nothing to restore · 412 · 423
 */
export async function restore(ctx: ViewContext): Promise<void> {
  const { view, path, services } = ctx
  if (ctx.req.headers['overlay-action'] !== 'restore') throw badRequest('the Overlay-Action field is not restore')
  if (announcedLength(ctx.req) !== 0) throw new DavError(415, 'restore does not accept a body')
  const target = await resolve(view, path.names, false)
  const { dir, inode } = target
  if (dir === undefined) throw new DavError(409, 'nothing to restore')
  const guard = await prepareGuard(ctx, target)
  const attr = inode && (await view.overlay.getattr(inode))
  guard.verify(inode, attr)
  requireMember(services, target, guard.tokens)
  try {
    const restored = await view.overlay.restore(view.cred, dir, target.name, (current) => {
      if (current?.key !== inode?.key) throw new DavError(409, 'something else has this name now')
      requireMember(services, target, guard.tokens)
    })
    services.locks.rebind(view.id, target.names, fileIdOf(restored))
    const shown = await view.overlay.getattr(restored)
    const etag = isDirectory(restored) ? [] : ['ETag', etagOf(restored, shown)]
    sendEmpty(ctx, 204, [...etag, ...lastModified(ctx, shown.mtime.sec)])
  } catch (error) {
    if (isErrno(error, 'ENODATA')) throw new DavError(409, 'no lower layer has another version of this')
    if (isErrno(error, 'EISDIR'))
      throw new DavError(409, 'a merged folder cannot be restored; restore its contents instead')
    if (isErrno(error, 'EMLINK')) throw new DavError(409, 'the file has other names (hard links)')
    throw error
  }
}
