import { type Attr, FileType, type Inode, type PublishOptions } from '../../overlay-core/index.ts'
import { refuseContentEncoding } from './body.ts'
import type { ViewContext } from './context.ts'
import { badRequest, DavError } from './dav-error.ts'
import { etagOf } from './etag.ts'
import { type Guard, prepareGuard } from './guard.ts'
import { parseOcMtime } from './headers.ts'
import { requireMember, requireResource } from './lock-check.ts'
import { lastModified, sendEmpty } from './reply.ts'
import { resolve, type Target } from './resolve.ts'
import { receiveBody } from './upload.ts'

/** Permission bits of files that WebDAV clients make. */
export const NEW_FILE_MODE = 0o644

/**
 * PUT (RFC 9110 section 9.3.4): the body is built aside and takes the name in one step when it is complete, so that no other client
 * ever sees a part of it. Conditions and locks are checked before the body is asked for, and again at that step.
 *
 * @throws DavError 400 Content-Range · 405 a collection · 409 no parent · 412 · 415 · 423
 */
export async function put(ctx: ViewContext): Promise<void> {
  const { view, path, req } = ctx
  if (req.headers['content-range'] !== undefined) throw badRequest('PUT of a range is not supported')
  refuseContentEncoding(req)
  const mtime = parseOcMtime(req.headers['x-oc-mtime'])
  const target = await resolve(view, path.names, true)
  checkPlace(ctx, target)
  const guard = await prepareGuard(ctx, target)
  const present = target.inode && (await view.overlay.getattr(target.inode))
  checkPut(ctx, target, guard, target.inode, present)
  let created = true
  const inode = await build(ctx, present?.mode ?? NEW_FILE_MODE, {
    dir: target.dir!,
    name: target.name,
    mode: NEW_FILE_MODE,
    ...(mtime === undefined ? {} : { mtime }),
    check: (current, attr) => {
      checkPut(ctx, target, guard, current, attr)
      created = current === undefined
    },
  })
  const attr = await view.overlay.getattr(inode)
  const headers = ['ETag', etagOf(inode, attr), ...lastModified(attr.mtime.sec)]
  if (mtime !== undefined) headers.push('X-OC-Mtime', 'accepted')
  sendEmpty(ctx, created ? 201 : 204, headers)
}

function checkPlace(ctx: ViewContext, { dir, inode }: Target): void {
  if (inode?.type === FileType.directory) throw new DavError(405, 'a collection cannot be put')
  if (dir === undefined) throw new DavError(409, 'the parent collection does not exist')
  if (ctx.path.trailingSlash && inode === undefined) throw new DavError(409, 'a file has no final slash')
}

/** Whether the file may take the place of what stands there now. */
function checkPut(
  ctx: ViewContext,
  target: Target,
  guard: Guard,
  current: Inode | undefined,
  attr: Attr | undefined,
): void {
  if (current !== undefined && current.type !== FileType.regular) {
    throw new DavError(current.type === FileType.directory ? 405 : 409, 'something else stands at this name')
  }
  guard.verify(current, attr)
  if (current === undefined) requireMember(ctx.services, target, guard.tokens)
  else requireResource(ctx.services, target, guard.tokens)
}

async function build(ctx: ViewContext, mode: number, options: PublishOptions): Promise<Inode> {
  const staged = await ctx.view.overlay.stage(ctx.view.cred, mode)
  let published = false
  try {
    await receiveBody(ctx, staged)
    const inode = await staged.publish(options)
    published = true
    return inode
  } finally {
    if (!published) await staged.discard()
  }
}
