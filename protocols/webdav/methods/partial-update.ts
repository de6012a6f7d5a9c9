import type { IncomingMessage } from 'node:http'
import { FileType, type Inode, type OpenFile } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import { ResourceType } from '../http/vocabulary.ts'
import { announcedLength, refuseContentEncoding } from '../request/body.ts'
import { prepareGuard } from '../request/guard.ts'
import { requireResource } from '../request/lock-check.ts'
import { askedTime } from '../request/modification-time.ts'
import { lastModified, sendEmpty } from '../request/reply.ts'
import { isDirectory, resolve, type Target } from '../request/resolve.ts'
import { type BodySink, receiveBody } from '../request/upload.ts'
import { methodNotAllowed, type ViewContext } from '../state/context.ts'

const PARTIAL_TYPE = 'application/x-sabredav-partialupdate'

/** The position of a body in a file: from a byte, a number of bytes before the end, or after the end. */
type WriteRange =
  | { readonly first: number; readonly last: number | undefined }
  | { readonly lastBytes: number }
  | 'append'

/** A header field from the raw request, because the type of the body is hidden from the HTTP process, which would refuse unknown types. */
export function rawField(req: IncomingMessage, name: string): string | undefined {
  const { rawHeaders } = req
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i].toLowerCase() === name) return rawHeaders[i + 1]
  return undefined
}

/**
 * PATCH as in sabre/dav: the body is written into the file at the position in X-Update-Range (`bytes=3-6`, `bytes=3-`, `bytes=-4`, `append`). Not atomic: if the
 * client disconnects, a part has been written.
 *
 * @throws DavError 400 · 404 · 405 a collection · 411 · 412 · 415 another type of body · 416 a position beyond the end · 423
 */
export async function patch(ctx: ViewContext): Promise<void> {
  if (rawField(ctx.req, 'content-type')?.trim().toLowerCase() !== PARTIAL_TYPE) {
    throw new DavError(415, `the body is not ${PARTIAL_TYPE}`)
  }
  const place = parseUpdateRange(String(ctx.req.headers['x-update-range'] ?? ''))
  const target = await resolve(ctx.view, ctx.path.names, true)
  if (target.inode === undefined) throw new DavError(404, 'no such resource')
  await update(ctx, { ...target, inode: target.inode }, place)
}

/**
 * PUT with Content-Range (RFC 9110 section 14.5) on an existing file: writes that part, like PATCH. Undefined if there is no file yet and the part
 * is the whole file: then it is an ordinary PUT.
 *
 * @throws as `patch`
 */
export async function putRange(ctx: ViewContext, field: string): Promise<boolean> {
  const found = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(field.trim())
  const [first, last] = [Number(found?.[1]), Number(found?.[2])]
  const total = found?.[3] === '*' ? undefined : Number(found?.[3])
  if (found === null || first > last || (total !== undefined && last >= total)) {
    throw badRequest('the Content-Range field is malformed')
  }
  const target = await resolve(ctx.view, ctx.path.names, true)
  const { inode } = target
  if (inode !== undefined) {
    await update(ctx, { ...target, inode }, { first, last })
    return true
  }
  if (first > 0) throw unsatisfiable(0)
  if (announcedLength(ctx.req) !== last + 1) throw badRequest('the length of the body differs from its range')
  return false
}

async function update(ctx: ViewContext, target: Target & { readonly inode: Inode }, place: WriteRange): Promise<void> {
  const { view } = ctx
  const { inode } = target
  if (isDirectory(inode)) throw methodNotAllowed(ctx, ResourceType.Directory, 'a collection has no content')
  if (inode.type !== FileType.regular) throw new DavError(409, 'something else has this name')
  refuseContentEncoding(ctx.req)
  const length = announcedLength(ctx.req)
  if (length === undefined) throw new DavError(411, 'a partial update needs Content-Length')
  const time = askedTime(ctx)
  const attr = await view.overlay.getattr(inode)
  const guard = await prepareGuard(ctx, target)
  guard.verify(inode, attr, () => requireResource(ctx.services, target, guard.tokens))
  const position = positionOf(place, attr.size, length)
  const file = await view.overlay.open(view.cred, inode, { write: true })
  try {
    await receiveBody(ctx, new FileSink(file, position))
  } finally {
    file.close()
  }
  const accepted = await time.set(view, inode)
  const now = await view.overlay.getattr(inode)
  sendEmpty(ctx, 204, [...accepted, 'ETag', etagOf(inode, now), ...lastModified(ctx, now.mtime.sec)])
}

/** Writes a body into an open file, starting at `position`. */
class FileSink implements BodySink {
  sizeBytes = 0
  readonly #file: OpenFile
  readonly #position: number

  constructor(file: OpenFile, position: number) {
    this.#file = file
    this.#position = position
  }

  async append(chunks: readonly Uint8Array[]): Promise<void> {
    const data = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
    await this.#file.write(data, this.#position + this.sizeBytes)
    this.sizeBytes += data.length
  }
}

function parseUpdateRange(field: string): WriteRange {
  const text = field.trim().toLowerCase()
  if (text === 'append') return 'append'
  const found = /^bytes=(?:(\d{1,16})-(\d{1,16})?|-(\d{1,16}))$/.exec(text)
  if (found === null) throw badRequest('the X-Update-Range field is missing or malformed')
  if (found[3] !== undefined) return { lastBytes: Number(found[3]) }
  const first = Number(found[1])
  const last = found[2] === undefined ? undefined : Number(found[2])
  if (last !== undefined && last < first) throw badRequest('the X-Update-Range field is malformed')
  return { first, last }
}

function positionOf(place: WriteRange, size: number, length: number): number {
  if (place === 'append') return size
  if ('lastBytes' in place) {
    if (place.lastBytes > size) throw unsatisfiable(size)
    return size - place.lastBytes
  }
  if (place.first > size) throw unsatisfiable(size)
  if (place.last !== undefined && place.last - place.first + 1 !== length) {
    throw badRequest('the length of the body differs from its range')
  }
  return place.first
}

function unsatisfiable(size: number): DavError {
  return new DavError(416, 'the range starts beyond the end of the file', {
    headers: ['Content-Range', `bytes */${size}`],
  })
}
