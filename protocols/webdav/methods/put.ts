import { type Attr, FileType, type Foreseen, type Inode, type PublishOptions } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import { parseLastModified, parseOcMtime } from '../http/headers.ts'
import { ResourceType } from '../http/vocabulary.ts'
import { fileIdOf } from '../locks/resource-locks.ts'
import { refuseContentEncoding } from '../request/body.ts'
import { type Guard, prepareGuard } from '../request/guard.ts'
import { requireMember, requireResource } from '../request/lock-check.ts'
import { acceptedTime } from '../request/modification-time.ts'
import { lastModified, sendEmpty } from '../request/reply.ts'
import { isDirectory, resolve, type Target } from '../request/resolve.ts'
import { receiveBody } from '../request/upload.ts'
import { parseOcChecksum, requireSum, Summer, type Sums } from '../state/checksums.ts'
import { methodNotAllowed, type ViewContext } from '../state/context.ts'
import { putRange } from './partial-update.ts'

/** Permission bits of files that WebDAV clients create. */
export const NEW_FILE_MODE = 0o644

/**
 * PUT (RFC 9110 section 9.3.4): the body is written to a staged file that takes the name in one step when it is complete, so that no other client
 * ever sees a part of it. Conditions and locks are checked before the body is read, and again at that step.
 *
 * @throws DavError 405 a collection · 409 no parent · 412 · 415 · 423 · 501
 */
export async function put(ctx: ViewContext): Promise<void> {
  const { view, path, req } = ctx
  const contentRange = req.headers['content-range']
  if (contentRange !== undefined && ctx.caller.dropOnly) throw new DavError(403, 'you may only add whole files here')
  if (contentRange !== undefined && (await putRange(ctx, contentRange))) return
  refuseContentEncoding(req)
  refusePart(ctx)
  const ocMtime = parseOcMtime(req.headers['x-oc-mtime'])
  const mtime = ocMtime ?? parseLastModified(req.headers['last-modified'])
  const promised = parseOcChecksum(req.headers['oc-checksum'])
  const target = await resolve(view, path.names, true)
  checkPlace(ctx, target)
  const guard = await prepareGuard(ctx, target)
  const present = target.inode && (await view.overlay.getattr(target.inode))
  checkPut(ctx, target, guard, target.inode, present)
  let created = true
  const summer = promised && new Summer([promised.algorithm])
  let sums: Sums = {}
  const verifyBody = () => {
    sums = summer?.end() ?? sums
    if (promised !== undefined) requireSum(promised, sums)
  }
  const inode = await build(
    ctx,
    { foreseen: present ?? { mode: NEW_FILE_MODE }, summer, verifyBody },
    {
      dir: target.dir!,
      name: target.name,
      mode: NEW_FILE_MODE,
      keepLinks: true,
      ...(mtime === undefined ? {} : { mtime }),
      check: (current, attr) => {
        checkPut(ctx, target, guard, current, attr)
        created = current === undefined
      },
    },
  )
  ctx.services.locks.rebind(view.id, target.names, fileIdOf(inode))
  const attr = await view.overlay.getattr(inode)
  const headers = ['ETag', etagOf(inode, attr), ...lastModified(ctx, attr.mtime.sec)]
  if (promised !== undefined) await ctx.services.checksums.keep(view, inode, attr, sums)
  headers.push(...acceptedTime(ocMtime, attr))
  sendEmpty(ctx, created ? 201 : 204, headers)
}

function checkPlace(ctx: ViewContext, { dir, inode }: Target): void {
  if (inode?.type === FileType.directory)
    throw methodNotAllowed(ctx, ResourceType.Directory, 'PUT cannot replace a collection')
  if (dir === undefined) throw new DavError(409, 'the parent collection does not exist')
  if (ctx.path.trailingSlash && inode === undefined) throw new DavError(409, 'a file URL must not end in /')
}

/** Checks that an uploaded file may replace the present object. Safe to call inside a `check` of the core. @throws DavError 405 · 409 · 412 · 423 */
export function checkPut(
  ctx: ViewContext,
  target: Target,
  guard: Guard,
  current: Inode | undefined,
  attr: Attr | undefined,
): void {
  if (current !== undefined && ctx.caller.dropOnly)
    throw new DavError(412, 'a file with this name exists; choose another name')
  if (current !== undefined && current.type !== FileType.regular) {
    if (isDirectory(current)) throw methodNotAllowed(ctx, ResourceType.Directory, 'PUT cannot replace a collection')
    throw new DavError(409, 'something else has this name')
  }
  guard.verify(current, attr, () => {
    if (current === undefined) requireMember(ctx.services, target, guard.tokens)
    else requireResource(ctx.services, { ...target, inode: current }, guard.tokens)
  })
}

/** Options for receiving a body. */
interface Reception {
  /** The expected final size of the file. */
  readonly foreseen: Foreseen
  /** Receives each piece as it arrives. */
  readonly summer: Summer | undefined
  /** Called when the body is complete; may throw to abort. */
  readonly verifyBody: () => void
}

async function build(ctx: ViewContext, reception: Reception, options: PublishOptions): Promise<Inode> {
  const staged = await ctx.view.overlay.stage(ctx.view.cred, reception.foreseen)
  let published = false
  try {
    await receiveBody(ctx, staged, reception.summer)
    requireExpectedLength(ctx, staged.sizeBytes)
    reception.verifyBody()
    const inode = await staged.publish(options)
    published = true
    return inode
  } finally {
    if (!published) await staged.discard()
  }
}

/**
 * Finder sends the length of a chunked body in X-Expected-Entity-Length, and ownCloud clients send that of the file in OC-Total-Length. If a proxy lost the body, the
 * file must not become empty.
 * @throws DavError 400
 */
function requireExpectedLength({ req }: ViewContext, sizeBytes: number): void {
  for (const name of ['x-expected-entity-length', 'oc-total-length']) {
    const field = String(req.headers[name] ?? '').trim()
    if (/^\d{1,16}$/.test(field) && Number(field) !== sizeBytes)
      throw badRequest('the body does not have the expected length')
  }
}

/** Refuses a part of a file, which would become a file of its own. @throws DavError 501 */
function refusePart({ req }: ViewContext): void {
  if (req.headers['oc-chunked'] !== undefined)
    throw new DavError(501, 'OC-Chunked is not supported; send the whole file, or use a resumable upload (tus 1.0)')
}
