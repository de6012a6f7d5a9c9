import { DavError } from '../http/dav-error.ts'
import { parseLockToken } from '../http/headers.ts'
import { isSameHolder } from '../locks/holder.ts'
import { locksOn } from '../locks/resource-locks.ts'
import { verifyAll } from '../request/guard.ts'
import { sendEmpty } from '../request/reply.ts'
import { resolve } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'

/** UNLOCK (RFC 4918 section 9.11): ends a lock that covers the resource. @throws DavError 400 · 403 it is of another user · 409 no such lock on this resource */
export async function unlock(ctx: ViewContext): Promise<void> {
  const { view, services } = ctx
  const token = parseLockToken(ctx.req.headers['lock-token'])
  const target = await resolve(view, ctx.path.names, true)
  const { inode } = target
  const held = locksOn(services.locks, target).find((lock) => lock.token === token)
  if (held === undefined) {
    throw new DavError(409, 'no such lock on this resource', { condition: '<D:lock-token-matches-request-uri/>' })
  }
  const may = isSameHolder(held, view.holder) || ctx.caller.endsLocks || ctx.use?.endsLocks === true
  if (!may) throw new DavError(403, 'this is the lock of another user')
  if (inode !== undefined) await verifyAll(ctx, target, inode, await view.overlay.getattr(inode))
  await services.locks.remove(token)
  sendEmpty(ctx, 204)
}
