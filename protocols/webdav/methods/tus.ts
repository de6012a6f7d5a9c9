import { isUtf8 } from 'node:buffer'
import type { Attr, Inode, Name } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import { parseOcMtime, parseSeconds } from '../http/headers.ts'
import { httpDate } from '../http/http-date.ts'
import { hrefOf } from '../http/path.ts'
import { fileIdOf } from '../locks/resource-locks.ts'
import { announcedLength } from '../request/body.ts'
import { type Guard, prepareGuard } from '../request/guard.ts'
import { acceptedTime } from '../request/modification-time.ts'
import { sendEmpty } from '../request/reply.ts'
import { isDirectory, resolve, type Target } from '../request/resolve.ts'
import { receiveBody } from '../request/upload.ts'
import type { ViewContext } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'
import { aboutUpload, type ResumableUpload } from '../state/upload-store.ts'
import { rawField } from './partial-update.ts'
import { checkPut, NEW_FILE_MODE } from './put.ts'

const VERSION = '1.0.0'
const RESUMABLE = ['Tus-Resumable', VERSION]
const PIECE_TYPE = 'application/offset+octet-stream'

/** The OPTIONS fields for resumable uploads. */
export const TUS_OPTIONS = [...RESUMABLE, 'Tus-Version', VERSION, 'Tus-Extension', 'creation,termination,expiration']

/** Whether the request is for an upload and not for a resource: its URL has `?upload=ID`. */
export function isUpload(ctx: ViewContext): boolean {
  return ctx.req.headers['tus-resumable'] !== undefined && uploadId(ctx) !== undefined
}

function uploadId({ req }: ViewContext): string | undefined {
  return /\?upload=([0-9a-f-]{1,64})$/i.exec(req.url ?? '')?.[1]
}

/**
 * POST on a collection with Tus-Resumable (tus 1.0, creation): starts an upload of Upload-Length bytes for the file that `filename` in Upload-Metadata names. The file appears in one step when
 * its last byte has arrived, with the time in X-OC-Mtime or in `mtime` of Upload-Metadata, if any.
 *
 * @throws DavError 400 · 404 · 409 · 412 another version, or a condition · 415 · 423 · 503 too many uploads
 */
export async function createUpload(ctx: ViewContext): Promise<void> {
  requireVersion(ctx)
  const { view, services, req } = ctx
  await services.uploads.load(view, services.views.values())
  const lengthBytes = parseNumber(req.headers['upload-length'], 'Upload-Length')
  const metadata = parseMetadata(String(req.headers['upload-metadata'] ?? ''))
  const name = filenameIn(metadata)
  // Other clients may mean something else by this key.
  const mtime = parseOcMtime(req.headers['x-oc-mtime']) ?? parseSeconds(metadata.get('mtime')?.toString('latin1') ?? '')
  if (announcedLength(req) !== 0) throw new DavError(415, 'creating an upload does not accept content')
  const collection = await resolve(view, ctx.path.names, true)
  if (collection.inode === undefined) throw new DavError(404, 'no such collection')
  if (!isDirectory(collection.inode)) throw new DavError(409, 'an upload can be created in a collection only')
  const target = await resolve(view, [...ctx.path.names, name], true)
  const guard = await prepareGuard(ctx, target)
  checkPlace(ctx, target, guard, target.inode, target.inode && (await view.overlay.getattr(target.inode)))
  if (!services.uploads.hasRoom(ctx.address, view.id, view.cred.uid))
    throw new DavError(503, 'too many uploads in progress; complete or terminate some')
  const wanted = { id: services.randomUUID(), view, uid: view.cred.uid, names: target.names, lengthBytes, mtime }
  const keep = { id: wanted.id, about: aboutUpload(wanted, view.cred) }
  const staged = await view.overlay.stage(view.cred, { mode: NEW_FILE_MODE }, keep)
  const upload = services.uploads.add({ ...wanted, staged, address: ctx.address })
  const location = `${hrefIn(view, target.names, false)}?upload=${upload.id}`
  const created = ['Location', location, 'Upload-Offset', '0', ...RESUMABLE, ...expiry(ctx, upload)]
  if (lengthBytes === 0) return publish(ctx, upload, target, guard, 201, created)
  sendEmpty(ctx, 201, created)
}

/** HEAD of an upload: the number of bytes received. @throws DavError 404 */
export async function uploadState(ctx: ViewContext): Promise<void> {
  const upload = await requireUpload(ctx)
  const { staged, lengthBytes } = upload
  const state = ['Upload-Offset', String(staged.sizeBytes), 'Upload-Length', String(lengthBytes)]
  sendEmpty(ctx, 200, [...state, 'Cache-Control', 'no-store', ...RESUMABLE, ...expiry(ctx, upload)])
}

/**
 * PATCH of an upload: appends the body at Upload-Offset, which must be the present offset. The received part of an aborted body counts.
 * @throws DavError 404 · 409 another offset · 412 · 413 more than declared · 415 · 423 another request is adding to it, or the path is locked
 */
export async function continueUpload(ctx: ViewContext): Promise<void> {
  const upload = await requireUpload(ctx)
  const { staged, lengthBytes } = upload
  if (rawField(ctx.req, 'content-type')?.trim().toLowerCase() !== PIECE_TYPE) {
    throw new DavError(415, `the body is not ${PIECE_TYPE}`, { headers: RESUMABLE })
  }
  if (upload.busy) throw new DavError(423, 'another request is adding to this upload', { headers: RESUMABLE })
  if (parseNumber(ctx.req.headers['upload-offset'], 'Upload-Offset') !== staged.sizeBytes) {
    throw new DavError(409, 'the upload is at another offset', { headers: RESUMABLE })
  }
  const room = lengthBytes - staged.sizeBytes
  if ((announcedLength(ctx.req) ?? 0) > room) throw new DavError(413, 'the body exceeds the length of the upload')
  const target = await resolve(ctx.view, upload.names, false)
  const guard = await prepareGuard(ctx, target)
  upload.busy = true
  try {
    await receiveBody(ctx, new Remainder(upload))
    ctx.services.uploads.renew(upload)
    const offset = ['Upload-Offset', String(staged.sizeBytes), ...RESUMABLE]
    if (staged.sizeBytes === lengthBytes) return await publish(ctx, upload, target, guard, 204, offset)
    sendEmpty(ctx, 204, [...offset, ...expiry(ctx, upload)])
  } finally {
    upload.busy = false
  }
}

/** DELETE of an upload (tus 1.0, termination). @throws DavError 404 · 423 */
export async function terminateUpload(ctx: ViewContext): Promise<void> {
  const upload = await requireUpload(ctx)
  if (upload.busy) throw new DavError(423, 'another request is adding to this upload', { headers: RESUMABLE })
  ctx.services.uploads.forget(upload.id)
  await upload.staged.discard()
  sendEmpty(ctx, 204, RESUMABLE)
}

/** Accepts the missing bytes of an upload and no more. */
class Remainder {
  readonly #upload: ResumableUpload
  readonly #start: number

  constructor(upload: ResumableUpload) {
    this.#upload = upload
    this.#start = upload.staged.sizeBytes
  }

  get sizeBytes(): number {
    return this.#upload.staged.sizeBytes - this.#start
  }

  async append(chunks: readonly Uint8Array[]): Promise<void> {
    const { staged, lengthBytes } = this.#upload
    const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (staged.sizeBytes + size > lengthBytes) throw new DavError(413, 'the body exceeds the length of the upload')
    await staged.append(chunks)
  }
}

async function publish(
  ctx: ViewContext,
  upload: ResumableUpload,
  target: Target,
  guard: Guard,
  status: number,
  headers: readonly string[],
): Promise<void> {
  const { view } = ctx
  const { dir, name } = target
  if (dir === undefined) throw new DavError(409, 'the collection is gone')
  const mtime = parseOcMtime(ctx.req.headers['x-oc-mtime']) ?? upload.mtime
  ctx.services.uploads.forget(upload.id)
  let inode: Inode
  try {
    inode = await upload.staged.publish({
      ...{ dir, name, mode: NEW_FILE_MODE, keepLinks: true, ...(mtime && { mtime }) },
      check: (current, attr) => checkPlace(ctx, target, guard, current, attr),
    })
  } catch (error) {
    await upload.staged.discard()
    throw error
  }
  ctx.services.locks.rebind(view.id, target.names, fileIdOf(inode))
  const attr = await view.overlay.getattr(inode)
  sendEmpty(ctx, status, [...headers, 'ETag', etagOf(inode, attr), ...acceptedTime(mtime, attr)])
}

/** Checks that the file may replace the present object. */
function checkPlace(
  ctx: ViewContext,
  target: Target,
  guard: Guard,
  current: Inode | undefined,
  attr: Attr | undefined,
): void {
  if (current !== undefined && isDirectory(current)) throw new DavError(409, 'a collection has this name')
  checkPut(ctx, target, guard, current, attr)
}

function requireVersion({ req }: ViewContext): void {
  if (req.headers['tus-resumable'] === VERSION) return
  throw new DavError(412, 'this version of tus is not supported', { headers: ['Tus-Version', VERSION] })
}

async function requireUpload(ctx: ViewContext): Promise<ResumableUpload> {
  requireVersion(ctx)
  await ctx.services.uploads.load(ctx.view, ctx.services.views.values())
  const upload = ctx.services.uploads.find(uploadId(ctx) ?? '')
  const here =
    upload?.view.id === ctx.view.id && hrefOf('/', upload.names, false) === hrefOf('/', ctx.path.names, false)
  const own = upload?.uid === ctx.cred.uid
  if (upload === undefined || !here || !own) throw new DavError(404, 'no such upload', { headers: RESUMABLE })
  return upload
}

function expiry({ services }: ViewContext, upload: ResumableUpload): string[] {
  return ['Upload-Expires', httpDate(Math.floor(services.uploads.endOf(upload) / 1000))]
}

function parseNumber(field: string | string[] | undefined, name: string): number {
  const text = String(field ?? '')
  if (!/^\d{1,15}$/.test(text)) throw badRequest(`the ${name} field is missing or not a number`)
  return Number(text)
}

/** Upload-Metadata: pairs of a key and a value in Base64, with commas in between. */
function parseMetadata(field: string): Map<string, Buffer> {
  const pairs = field.split(',').map((pair) => pair.trim().split(' '))
  return new Map(pairs.map(([key = '', value = '']) => [key, Buffer.from(value, 'base64')]))
}

function filenameIn(metadata: ReadonlyMap<string, Buffer>): Name {
  const bytes = metadata.get('filename') ?? Buffer.alloc(0)
  const name = bytes.toString('latin1')
  const single = name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name) && name.length <= 255
  if (single && isUtf8(bytes)) return name
  throw badRequest('Upload-Metadata has no usable filename')
}
