import { Access, type Attr, after, type Inode, type MaybePromise, OverlayError } from '../../../overlay-core/index.ts'
import { requestedArchive, sendArchive } from '../archives/archive.ts'
import { contentTypeOf, runsScripts } from '../http/content-type.ts'
import { DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import { evaluatePreconditions, ifRangeHolds } from '../http/preconditions.ts'
import { type ByteRange, parseRange } from '../http/range.ts'
import { streamFile } from '../request/download.ts'
import { verifyIf } from '../request/guard.ts'
import { limitSilence } from '../request/pace.ts'
import { lastModified, sendBytes, sendEmpty, sendLatin1 } from '../request/reply.ts'
import { isDirectory, isVisible, resolve, type Target } from '../request/resolve.ts'
import { lookAgain } from '../request/stale.ts'
import type { ViewContext } from '../state/context.ts'
import { sendListing } from './listing.ts'

/** Files up to this size are read at once and sent in one write, in bytes. */
const SMALL_FILE_BYTES = 64 * 1024
/** Up to this size, in bytes, memory of its own costs less than a lent buffer, of which most would be unused. */
const SHORT_BYTES = 16 * 1024
/** Room for the header in front of a body in memory, in bytes. */
const HEAD_ROOM = 1024
const READ_TRIES = 3
const NO_HEADERS: readonly string[] = []

/** A file to send, with the attributes that the response describes. */
interface Served {
  readonly inode: Inode
  readonly attr: Attr
  readonly type: string
  readonly etag: string
}

/** GET and HEAD: files with ranges and conditions (RFC 9110 sections 13 and 14), collections as a listing. @throws DavError 404 */
export function get(ctx: ViewContext): MaybePromise<void> {
  return lookAgain(ctx, () => getOnce(ctx))
}

function getOnce(ctx: ViewContext): MaybePromise<void> {
  return after(resolve(ctx.view, ctx.path.names, true), (target) => sendTarget(ctx, target))
}

function sendTarget(ctx: ViewContext, target: Target): MaybePromise<void> {
  const { inode } = target
  if (inode === undefined || !isVisible(inode)) throw new DavError(404, 'no such resource')
  const format = isDirectory(inode) ? requestedArchive(ctx.req.url ?? '') : undefined
  if (ctx.caller.dropOnly && (!isDirectory(inode) || format !== undefined))
    throw new DavError(403, 'you may only add files here')
  if (isDirectory(inode)) {
    if (format !== undefined) return sendArchive(ctx, { ...target, inode }, format)
    return sendListing(ctx, { ...target, inode })
  }
  return after(ctx.view.overlay.getattr(inode), (attr) => {
    const { names } = ctx.path
    const file = { inode, attr, type: contentTypeOf(names[names.length - 1]), etag: etagOf(inode, attr) }
    if (ctx.req.headers.if === undefined) return sendFile(ctx, file)
    return verifyIf(ctx, target, inode, attr).then(() => sendFile(ctx, file))
  })
}

function sendFile(ctx: ViewContext, file: Served): MaybePromise<void> {
  const { headers } = ctx.req
  const { attr, etag } = file
  const state = { exists: true, etag, mtimeSec: attr.mtime.sec }
  const failed = evaluatePreconditions(headers, state, true)
  if (failed === 412) throw new DavError(412, 'a precondition failed')
  if (failed === 304) return sendEmpty(ctx, 304, validators(ctx, file))
  return after(ctx.view.overlay.access(ctx.view.cred, file.inode, Access.read), (allowed) => {
    if (allowed === 0) throw new OverlayError('EACCES', 'get')
    return sendAllowed(ctx, file)
  })
}

function sendAllowed(ctx: ViewContext, file: Served): MaybePromise<void> {
  const { attr } = file
  if (ctx.req.method === 'HEAD') {
    sendLatin1(ctx, 200, fileHeaders(ctx, file, attr.size, NO_HEADERS), '')
    return
  }
  const ranges = requestedRanges(ctx, file)
  if (ranges === undefined) return sendWhole(ctx, file)
  if (ranges.length === 0) {
    throw new DavError(416, 'the range cannot be satisfied', { headers: ['Content-Range', `bytes */${attr.size}`] })
  }
  if (ranges.length === 1) return sendRange(ctx, file, ranges[0])
  return sendRanges(ctx, file, ranges)
}

function requestedRanges(ctx: ViewContext, { attr, etag }: Served): ByteRange[] | undefined {
  const { range, 'if-range': ifRange } = ctx.req.headers
  if (range === undefined) return undefined
  const nowSec = Math.floor(ctx.services.now() / 1000)
  if (!ifRangeHolds(ifRange as string | undefined, etag, attr.mtime.sec, nowSec)) return undefined
  return parseRange(range, attr.size, ctx.services.limits.ranges)
}

function validators(ctx: ViewContext, { etag, attr }: Served): string[] {
  return ['ETag', etag, ...lastModified(ctx, attr.mtime.sec)]
}

/** The header of a response with `length` bytes that come from the file; `type` is what they are. */
function fileHeaders(
  ctx: ViewContext,
  file: Served,
  length: number,
  extra: readonly string[],
  type = file.type,
): string[] {
  const headers = validators(ctx, file)
  headers.push('Accept-Ranges', 'bytes', 'X-Content-Type-Options', 'nosniff')
  if (runsScripts(file.type)) headers.push('Content-Security-Policy', 'sandbox', 'Referrer-Policy', 'no-referrer')
  for (const field of extra) headers.push(field)
  headers.push('Content-Type', type, 'Content-Length', String(length))
  return headers
}

function sendWhole(ctx: ViewContext, file: Served): MaybePromise<void> {
  const known = file.attr.size <= SMALL_FILE_BYTES ? ctx.services.contents.get(file.inode, file.attr) : undefined
  return known === undefined ? readWhole(ctx, file) : sendContent(ctx, file, known)
}

async function readWhole(ctx: ViewContext, file: Served): Promise<void> {
  let current = file
  const { contents } = ctx.services
  for (let tries = 0; current.attr.size <= SMALL_FILE_BYTES && tries < READ_TRIES; tries++) {
    const known = contents.get(current.inode, current.attr)
    if (known !== undefined) return sendContent(ctx, current, known)
    const data = Buffer.allocUnsafe(current.attr.size)
    if (await readSmall(ctx, current.inode, 0, data)) {
      // Cache it only if the file did not change during the read.
      if (ctx.view.overlay.getattr(current.inode) === current.attr)
        contents.set(ctx.view.id, current.inode, current.attr, data)
      return sendData(ctx, 200, current, data, [])
    }
    // The file changed between reading its size and its content: start over with its present attributes.
    const attr = await ctx.view.overlay.getattr(file.inode)
    current = { ...file, attr, etag: etagOf(file.inode, attr) }
  }
  await sendStream(ctx, 200, current, { first: 0, last: current.attr.size - 1 }, [])
}

function sendRange(ctx: ViewContext, file: Served, range: ByteRange): MaybePromise<void> {
  const length = range.last - range.first + 1
  if (length > SMALL_FILE_BYTES) return sendStream(ctx, 206, file, range, rangeHeaders(range, file))
  const { buffers } = ctx.services
  const lent = length > SHORT_BYTES ? buffers.takeSmall() : undefined
  const bytes = lent?.subarray(0, HEAD_ROOM + length) ?? Buffer.allocUnsafe(HEAD_ROOM + length)
  return after(readSmall(ctx, file.inode, range.first, bytes, HEAD_ROOM), (whole) => {
    if (!whole) return sendStream(ctx, 206, file, range, rangeHeaders(range, file))
    // Then the kernel has the whole response. Without this event the buffer is dropped.
    if (lent !== undefined) ctx.res.on('finish', () => buffers.releaseSmall(lent))
    ctx.services.counters.bytesOut += length
    sendBytes(ctx, 206, fileHeaders(ctx, file, length, rangeHeaders(range, file)), bytes, HEAD_ROOM)
  })
}

function rangeHeaders(range: ByteRange, { attr }: Served): string[] {
  return ['Content-Range', contentRange(range, attr.size)]
}

/** Fills `data` behind the first `room` bytes from the file at once; false if the file is shorter. */
function readSmall(ctx: ViewContext, inode: Inode, position: number, data: Buffer, room = 0): MaybePromise<boolean> {
  const length = data.length - room
  if (length === 0) return true
  const { overlay, cred } = ctx.view
  return after(overlay.read(cred, inode, data, room, length, position), (read) => read === length)
}

function sendData(ctx: ViewContext, status: number, file: Served, data: Buffer, extra: readonly string[]): void {
  ctx.services.counters.bytesOut += data.length
  ctx.res.writeHead(status, fileHeaders(ctx, file, data.length, extra))
  ctx.res.end(data)
}

/** Sends a whole file whose bytes are the characters of `text`. */
function sendContent(ctx: ViewContext, file: Served, text: string): void {
  ctx.services.counters.bytesOut += text.length
  sendLatin1(ctx, 200, fileHeaders(ctx, file, text.length, NO_HEADERS), text)
}

async function sendStream(
  ctx: ViewContext,
  status: number,
  file: Served,
  { first, last }: ByteRange,
  extra: readonly string[],
): Promise<void> {
  const length = last - first + 1
  const open = await ctx.view.overlay.open(ctx.view.cred, file.inode, { read: true })
  try {
    limitSilence(ctx)
    ctx.res.writeHead(status, fileHeaders(ctx, file, length, extra))
    await streamFile(ctx, open, first, length)
    ctx.res.end()
  } finally {
    open.close()
  }
}

/** Sends several ranges as multipart/byteranges (RFC 9110 section 14.6). */
async function sendRanges(ctx: ViewContext, file: Served, ranges: readonly ByteRange[]): Promise<void> {
  const boundary = ctx.services.randomUUID()
  const { size } = file.attr
  const heads = ranges.map((range) =>
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: ${file.type}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`,
      'latin1',
    ),
  )
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1')
  const dataBytes = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  const length = dataBytes + tail.length + heads.reduce((sum, head) => sum + head.length, 0)
  const open = await ctx.view.overlay.open(ctx.view.cred, file.inode, { read: true })
  try {
    limitSilence(ctx)
    const type = `multipart/byteranges; boundary=${boundary}`
    ctx.res.writeHead(206, fileHeaders(ctx, file, length, NO_HEADERS, type))
    for (let i = 0; i < ranges.length; i++) {
      ctx.res.write(heads[i])
      await streamFile(ctx, open, ranges[i].first, ranges[i].last - ranges[i].first + 1)
    }
    ctx.res.end(tail)
  } finally {
    open.close()
  }
}

function contentRange({ first, last }: ByteRange, size: number): string {
  return `bytes ${first}-${last}/${size}`
}
