import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Attr, Inode, OpenFile, Overlay } from '../../overlay-core/index.ts'
import type { TemplateView } from '../registry/template-view.ts'
import { ROOT } from './root-cred.ts'
import { bytesOf, fileAt } from './view-files.ts'

const PIECE_BYTES = 64 * 1024

/** Sends a file of a view, or the part of it that the request asks for. The view stays in use until the last byte is sent. @returns false: there is none */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  view: TemplateView,
  path: string | undefined,
): Promise<FastifyReply> {
  const overlay = await view.use()
  let open: OpenFile | undefined
  const end = () => {
    open?.close()
    view.release()
  }
  try {
    const found = path === undefined ? undefined : await fileAt(overlay, bytesOf(path))
    if (found === undefined) {
      end()
      return reply.code(404).type('text/plain; charset=utf-8').send('there is no such file in the view\n')
    }
    const { size } = found.attr
    const tag = tagOf(found.attr)
    reply.header('etag', tag).header('accept-ranges', 'bytes').header('cache-control', 'no-cache')
    reply.type('application/octet-stream')
    if (request.headers['if-none-match'] === tag) {
      end()
      return reply.code(304).send()
    }
    const range = rangeOf(request, size, tag)
    if (range === 'none') {
      end()
      return reply.code(416).header('content-range', `bytes */${size}`).send()
    }
    if (range !== undefined) reply.code(206).header('content-range', `bytes ${range.from}-${range.to}/${size}`)
    const { from, to } = range ?? { from: 0, to: size - 1 }
    reply.header('content-length', to - from + 1)
    if (request.method === 'HEAD' || size === 0) {
      end()
      return reply.send(size === 0 && request.method !== 'HEAD' ? '' : undefined)
    }
    open = await openFile(overlay, found.inode)
    const stream = Readable.from(pieces(open, from, to), { objectMode: false, highWaterMark: PIECE_BYTES })
    stream.once('close', end)
    return reply.send(stream)
  } catch (error) {
    end()
    throw error
  }
}

async function openFile(overlay: Overlay, inode: Inode): Promise<OpenFile> {
  return await overlay.open(ROOT, inode, { read: true })
}

async function* pieces(file: OpenFile, from: number, to: number): AsyncGenerator<Uint8Array> {
  for (let at = from; at <= to; ) {
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, to - at + 1))
    const read = await file.readAside(piece, 0, piece.length, at)
    // The connection ends before its length: the client sees that something is missing.
    if (read === 0) throw new Error('the file has become shorter while it was sent')
    at += read
    yield piece.subarray(0, read)
  }
}

/** A strong tag: the object, its size and the time of its last change. */
function tagOf({ fileIdHi, fileIdLo, size, mtime, ctime }: Attr): string {
  const parts = [fileIdHi, fileIdLo, size, mtime.sec, mtime.nsec, ctime.sec, ctime.nsec]
  return `"${parts.map((part) => part.toString(36)).join('-')}"`
}

/** The part that a request asks for (RFC 9110 section 14): undefined for the whole, `none` if there is no such part. Several parts are answered by the whole. */
function rangeOf(
  { headers }: FastifyRequest,
  size: number,
  tag: string,
): { from: number; to: number } | 'none' | undefined {
  const { range, 'if-range': condition } = headers
  if (range === undefined || (condition !== undefined && condition !== tag)) return undefined
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range) ?? []
  if (first === '' && last === '') return undefined
  const from = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const to = first === '' || last === '' ? size - 1 : Math.min(size - 1, Number(last))
  if (from >= size || (first === '' && Number(last) === 0)) return 'none'
  return to < from ? undefined : { from, to }
}
