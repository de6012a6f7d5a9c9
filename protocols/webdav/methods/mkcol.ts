import { type Inode, isErrno } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { announcedLength } from '../request/body.ts'
import { prepareGuard } from '../request/guard.ts'
import { requireMember } from '../request/lock-check.ts'
import { askedTime } from '../request/modification-time.ts'
import { sendEmpty } from '../request/reply.ts'
import { resolve } from '../request/resolve.ts'
import { methodNotAllowed, type ViewContext } from '../state/context.ts'
import { resourceType } from './options.ts'

/** Permission bits of collections that WebDAV clients create. */
export const NEW_DIRECTORY_MODE = 0o755

/** MKCOL (RFC 4918 section 9.3). @throws DavError 405 the name exists · 409 no parent · 412 · 415 the request has a body · 423 */
export async function mkcol(ctx: ViewContext): Promise<void> {
  const { view } = ctx
  if (announcedLength(ctx.req) !== 0) throw new DavError(415, 'MKCOL does not accept a body')
  const time = askedTime(ctx)
  let accepted: readonly string[] = []
  const target = await resolve(view, ctx.path.names, false)
  const guard = await prepareGuard(ctx, target)
  if (target.inode !== undefined) throw taken(ctx, target.inode)
  if (target.dir === undefined) throw new DavError(409, 'the parent collection does not exist')
  guard.verify(undefined, undefined, () => requireMember(ctx.services, target, guard.tokens))
  try {
    const made = await view.overlay.mkdir(view.cred, target.dir, target.name, { mode: NEW_DIRECTORY_MODE })
    accepted = await time.set(view, made)
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw taken(ctx, await view.overlay.lookup(view.cred, target.dir, target.name))
    throw error
  }
  sendEmpty(ctx, 201, accepted)
}

function taken(ctx: ViewContext, inode: Inode | undefined): DavError {
  return methodNotAllowed(ctx, resourceType(inode), 'the name is already in use')
}
