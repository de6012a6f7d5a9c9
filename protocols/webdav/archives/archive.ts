import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { crc32, createDeflateRaw, createGzip, deflateRawSync } from 'node:zlib'
import {
  type Attr,
  type DirEntryPlus,
  FileType,
  type Inode,
  isErrno,
  LargeMap,
  loopBudget,
  type OpenFile,
  OverlayError,
} from '../../../overlay-core/index.ts'
import { ClientGone } from '../http/client-gone.ts'
import { badRequest } from '../http/dav-error.ts'
import { nameOfText } from '../http/path.ts'
import { FileShrank } from '../request/download.ts'
import { limitSilence } from '../request/pace.ts'
import { followsSymlinks, type Target } from '../request/resolve.ts'
import type { DavView, ViewContext } from '../state/context.ts'
import { memberName } from './member-name.ts'
import { type ArchiveMember, TAR_END, tarHeader, tarPadding } from './tar.ts'
import { hasData, ZipWriter } from './zip.ts'

const BATCH = 256
const PIECE_BYTES = 64 * 1024
/** Files up to this size are compressed in one step on the event loop. */
const SMALL_BYTES = 16 * 1024
/** A higher level gains little and costs the server time. */
const LEVEL = 3
/** Full window, but little memory. */
const SMALL_PACKING = { level: LEVEL, windowBits: 14, memLevel: 6 }
/** The maximum number of members in a zip archive, whose directory is kept in memory until the end. */
const MAX_ZIP_MEMBERS = 500_000
/** The number of hard-linked files whose first name is remembered. */
const MAX_LINKED = 100_000

type Format = 'zip' | 'tar.gz'
const TYPES: Readonly<Record<Format, string>> = { zip: 'application/zip', 'tar.gz': 'application/gzip' }

/** The archive format in the query of a GET; undefined if there is none. @throws DavError 400 unknown format */
export function requestedArchive(url: string): Format | undefined {
  const found = /\?(?:.*&)?archive=([^&]*)/.exec(url)?.[1]
  if (found === undefined) return undefined
  if (found === 'zip' || found === 'tar.gz') return found
  throw badRequest('the archive format is unknown; use zip or tar.gz')
}

/**
 * Responds with the collection and everything below as one archive, which is built while it is sent. Symlinks are included as symlinks; special files
 * and files that the caller may not read are omitted.
 *
 * @throws EACCES the collection itself · ClientGone
 */
export async function sendArchive(
  ctx: ViewContext,
  collection: Target & { readonly inode: Inode },
  format: Format,
): Promise<void> {
  const { view, res } = ctx
  const name = collection.names.at(-1) ?? nameOfText(view.name)
  // A refusal must be sent before the response begins.
  await view.overlay.readdir(view.cred, collection.inode, 0, () => false)
  const file = encodeURIComponent(Buffer.from(`${name}.${format}`, 'latin1').toString('utf8')).replaceAll("'", '%27')
  res.writeHead(200, [
    ...['Content-Type', TYPES[format], 'Content-Disposition', `attachment; filename*=UTF-8''${file}`],
    ...['Cache-Control', 'no-cache', 'X-Content-Type-Options', 'nosniff'],
  ])
  if (ctx.req.method === 'HEAD') {
    res.end()
    return
  }
  limitSilence(ctx)
  const members = walk(view, collection.inode, memberName(name))
  const count = (pieces: AsyncIterable<Buffer>) => counted(ctx, pieces)
  try {
    if (format === 'zip') await pipeline(Readable.from(zipOf(view, members), { objectMode: false }), count, res)
    else
      await pipeline(
        Readable.from(tarOf(view, members), { objectMode: false }),
        createGzip({ level: LEVEL }),
        count,
        res,
      )
  } catch (error) {
    // A premature end is caused by the client; failures of the server have their own errors.
    throw /^(ERR_STREAM_|ABORT_ERR|ECONNRESET|EPIPE)/.test((error as NodeJS.ErrnoException).code ?? '')
      ? new ClientGone()
      : error
  }
}

async function* counted(ctx: ViewContext, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    ctx.services.counters.bytesOut += piece.length
    yield piece
  }
}

/** A member with its object. */
interface Found extends ArchiveMember {
  readonly inode: Inode
}

/** A directory between the top and the present position of the walk. */
interface Frame {
  readonly inode: Inode
  readonly path: string
  waiting: DirEntryPlus[]
  cookie: number
  listed: boolean
}

/** Walks the collection and everything below it, depth first, each directory before its contents. */
async function* walk(view: DavView, top: Inode, name: string): AsyncGenerator<Found> {
  const linked = new LargeMap<number, string>()
  const attr = await view.overlay.getattr(top)
  yield { path: `${name}/`, attr, kind: 'directory', inode: top }
  const frames: Frame[] = [{ inode: top, path: `${name}/`, waiting: [], cookie: 0, listed: false }]
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const entry = frame.waiting.pop()
    if (entry !== undefined) {
      const member = await memberOf(view, frame, entry, linked)
      if (member === undefined) continue
      yield member
      if (member.kind === 'directory') frames.push({ ...member, waiting: [], cookie: 0, listed: false })
    } else if (frame.listed) frames.pop()
    else await list(view, frame)
  }
}

async function list(view: DavView, frame: Frame): Promise<void> {
  const batch: DirEntryPlus[] = []
  try {
    frame.listed = await view.overlay.readdirPlus(view.cred, frame.inode, frame.cookie, (entry) => {
      if (batch.length === BATCH) return false
      batch.push(entry)
      return true
    })
  } catch (error) {
    if (!isErrno(error, 'EACCES', 'ESTALE')) throw error
    frame.listed = true
  }
  frame.cookie = batch.at(-1)?.cookie ?? frame.cookie
  // Taken from its end.
  frame.waiting = batch.reverse()
}

async function memberOf(
  view: DavView,
  frame: Frame,
  { name, inode, attr }: DirEntryPlus,
  linked: LargeMap<number, string>,
): Promise<Found | undefined> {
  if (inode === undefined || attr === undefined) return undefined
  const path = `${frame.path}${memberName(name)}`
  if (attr.type === FileType.directory) return { path: `${path}/`, attr, kind: 'directory', inode }
  if (attr.type === FileType.symlink) {
    if (!followsSymlinks(view)) return undefined
    const target = await view.overlay.readlink(view.cred, inode)
    return { path, attr, kind: 'symlink', target: Buffer.from(target).toString('latin1'), inode }
  }
  if (attr.type !== FileType.regular) return undefined
  const first = attr.nlink > 1 ? linked.get(inode.key) : undefined
  if (first !== undefined) return { path, attr, kind: 'link', target: first, inode }
  if (attr.nlink > 1 && linked.size < MAX_LINKED) linked.set(inode.key, path)
  return { path, attr, kind: 'file', inode }
}

async function* tarOf(view: DavView, members: AsyncIterable<Found>): AsyncGenerator<Buffer> {
  for await (const found of members) {
    if (loopBudget.spent) await loopBudget.rest()
    if (found.kind !== 'file') {
      yield tarHeader(found)
      continue
    }
    const file = await openReadable(view, found.inode)
    if (file === undefined) continue
    try {
      // The header contains the present size of the file.
      const attr = await file.getattr()
      yield tarHeader({ ...found, attr })
      yield* contentOf(file, attr)
      yield tarPadding(attr.size)
    } finally {
      file.close()
    }
  }
  yield TAR_END
}

async function* zipOf(view: DavView, members: AsyncIterable<Found>): AsyncGenerator<Buffer> {
  const zip = new ZipWriter()
  try {
    for await (const member of members) {
      if (loopBudget.spent) await loopBudget.rest()
      if (zip.count >= MAX_ZIP_MEMBERS) throw new OverlayError('EFBIG', 'archive')
      if (hasData(member)) yield* zipMember(view, zip, member)
      else {
        yield zip.begin(member)
        zip.end(member)
      }
    }
    yield* zip.finish()
  } finally {
    zip.close()
  }
}

/** Adds a file; a file that the caller may not read is omitted. */
async function* zipMember(view: DavView, zip: ZipWriter, member: Found): AsyncGenerator<Buffer> {
  if (member.kind === 'symlink') {
    yield* small(zip, member, Buffer.from(member.target ?? '', 'latin1'))
    return
  }
  const file = await openReadable(view, member.inode)
  if (file === undefined) return
  try {
    const attr = await file.getattr()
    if (attr.size <= SMALL_BYTES) {
      yield* small(zip, member, await wholeOf(file, attr.size))
      return
    }
    yield zip.begin(member)
    const data = { crc: 0, size: 0, packed: 0 }
    const plain = Readable.from(summed(contentOf(file, attr), data), { objectMode: false })
    const deflate = createDeflateRaw({ level: LEVEL })
    // A failure of one side must end the other, which waits for it.
    plain.on('error', (error) => deflate.destroy(error))
    for await (const piece of plain.pipe(deflate)) {
      data.packed += (piece as Buffer).length
      yield piece as Buffer
    }
    yield zip.end(member, data)
  } finally {
    file.close()
  }
}

/** Compresses a small member in one step: a separate stream for each small file costs far more than the compression, and 300 KiB each. */
function small(zip: ZipWriter, member: Found, content: Buffer): Buffer[] {
  const header = zip.begin(member)
  const packed = deflateRawSync(content, SMALL_PACKING)
  const end = zip.end(member, { crc: crc32(content), size: content.length, packed: packed.length })
  return [Buffer.concat([header, packed, end])]
}

async function* summed(
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
  data: { crc: number; size: number },
): AsyncGenerator<Buffer> {
  for await (const piece of content) {
    data.crc = crc32(piece, data.crc)
    data.size += piece.length
    yield piece
  }
}

/** Opens a file; undefined if the caller may not read it, or it was removed meanwhile. */
async function openReadable(view: DavView, inode: Inode): Promise<OpenFile | undefined> {
  try {
    return await view.overlay.open(view.cred, inode, { read: true })
  } catch (error) {
    if (isErrno(error, 'EACCES', 'ESTALE')) return undefined
    throw error
  }
}

/** Reads the first `size` bytes of a small file. @throws FileShrank */
async function wholeOf(file: OpenFile, size: number): Promise<Buffer> {
  const content = Buffer.allocUnsafeSlow(size)
  for (let at = 0; at < size; ) {
    const read = await file.read(content, at, size - at, at)
    if (read === 0) throw new FileShrank()
    at += read
  }
  return content
}

/** Reads as many bytes of the file as `attr` says. @throws FileShrank */
async function* contentOf(file: OpenFile, { size }: Attr): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    // Each piece has its own memory, because the consumer may keep it for a while.
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size - at))
    const read = await file.read(piece, 0, piece.length, at)
    if (read === 0) throw new FileShrank()
    at += read
    yield piece.subarray(0, read)
  }
}
