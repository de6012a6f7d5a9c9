import { after, type Inode, isErrno, type MaybePromise } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { hasPreconditions } from '../http/preconditions.ts'
import { announcedLength } from '../request/body.ts'
import { prepareGuard } from '../request/guard.ts'
import { requireMember } from '../request/lock-check.ts'
import { askedTime } from '../request/modification-time.ts'
import { sendEmpty } from '../request/reply.ts'
import { isDirectory, resolve, type Target } from '../request/resolve.ts'
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
  const target = await findPlace(ctx)
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

/**
 * The place of the new collection. If nothing depends on what is there, only the parent is looked up, because creating the collection reveals whether the
 * name is free.
 */
function findPlace(ctx: ViewContext): MaybePromise<Target> {
  const { view, path, req, services } = ctx
  const { names } = path
  const name = names.at(-1)
  const depends = req.headers.if !== undefined || hasPreconditions(req.headers) || services.locks.size > 0
  if (name === undefined || depends || view.within.length > 0) return resolve(view, names, false)
  return after(resolve(view, names.slice(0, -1), true), (parent) => {
    const dir = parent.inode
    if (dir === undefined || !isDirectory(dir)) return resolve(view, names, false)
    return { view, names: [...parent.names, name], dir, name, inode: undefined }
  })
}

function taken(ctx: ViewContext, inode: Inode | undefined): DavError {
  return methodNotAllowed(ctx, resourceType(inode), 'the name is already in use')
}
