import type { IncomingMessage } from 'node:http'
import { loopBudget } from '../../../overlay-core/index.ts'
import { ClientGone } from '../http/client-gone.ts'
import { DavError } from '../http/dav-error.ts'
import { decodeXml, type XmlElement, type XmlLimits, XmlReader } from '../http/xml.ts'
import type { DavContext } from '../state/context.ts'
import { watchPace } from './pace.ts'

const SLICE = 16 * 1024
const EMPTY = Buffer.alloc(0)
/** The memory limit for all bodies that are read whole; further ones are refused. */
const MOST_COLLECTED_BYTES = 64 * 1024 * 1024

let collectedBytes = 0

/** Requests whose client waits for `100 Continue` before it sends the body. */
const waiting = new WeakSet<IncomingMessage>()

/** Records that `req` has `Expect: 100-continue` and has not been answered yet. */
export function markWaiting(req: IncomingMessage): void {
  waiting.add(req)
}

/** Whether the client still waits for `100 Continue`. */
export function isWaiting(req: IncomingMessage): boolean {
  return waiting.has(req)
}

/** Sends `100 Continue` if the client waits for it. */
export function letBodyCome(ctx: DavContext): void {
  if (waiting.delete(ctx.req)) ctx.res.writeContinue()
}

/** The declared length of the request body; undefined if chunked. @throws DavError 413 · 501 */
export function announcedLength(req: IncomingMessage): number | undefined {
  const coding = req.headers['transfer-encoding']
  if (coding !== undefined) {
    if (!/^\s*chunked\s*$/i.test(coding)) throw new DavError(501, 'only the transfer coding chunked is supported')
    return undefined
  }
  const field = req.headers['content-length']
  if (field === undefined) return 0
  const length = Number(field)
  if (!/^\d+$/.test(field) || !Number.isSafeInteger(length)) throw new DavError(413, 'the body is too large')
  return length
}

/** Refuses bodies with a content encoding (RFC 9110 section 8.4). @throws DavError 415 */
export function refuseContentEncoding(req: IncomingMessage): void {
  const encoding = req.headers['content-encoding']
  if (encoding !== undefined && !/^\s*(?:identity)?\s*$/i.test(encoding)) {
    throw new DavError(415, 'content encodings are not supported')
  }
}

/** Reads the whole body. @throws DavError 413 above `maxBytes` · 415 · ClientGone */
export async function readBody(ctx: DavContext, maxBytes: number): Promise<Buffer> {
  const announced = announcedLength(ctx.req)
  if (announced === 0) return EMPTY
  if (announced !== undefined && announced > maxBytes) throw new DavError(413, 'the body is too large')
  refuseContentEncoding(ctx.req)
  letBodyCome(ctx)
  limitSilence(ctx)
  const body = await collect(ctx, maxBytes)
  allowSilence(ctx)
  return body
}

/** From now on the client must regularly send or read data. */
export function limitSilence({ req, services }: DavContext): void {
  req.socket.setTimeout(services.limits.idleMs)
}

/** The client has sent everything and now waits for the server. Node restores its own limits with the next request. */
export function allowSilence({ req }: DavContext): void {
  req.socket.setTimeout(0)
}

function collect(ctx: DavContext, maxBytes: number): Promise<Buffer> {
  const { req } = ctx
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = []
    let size = 0
    const endWatch = watchPace(
      ctx,
      () => size,
      () => false,
    )
    const done = () => {
      endWatch()
      collectedBytes -= size
      size = 0
    }
    const stop = (error: Error) => {
      done()
      req.off('data', take).off('end', end).off('close', close).pause()
      reject(error)
    }
    const take = (piece: Buffer) => {
      size += piece.length
      collectedBytes += piece.length
      if (collectedBytes > MOST_COLLECTED_BYTES)
        stop(new DavError(503, 'too many large request bodies at once', { headers: ['Retry-After', '2'] }))
      else if (size > maxBytes) stop(new DavError(413, 'the body is too large'))
      else pieces.push(piece)
    }
    const end = () => {
      req.off('close', close)
      resolve(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, size))
      done()
    }
    const close = () => stop(new ClientGone())
    if (req.destroyed) close()
    else req.on('data', take).on('end', end).on('close', close)
  })
}

/**
 * Parses an XML body; undefined if it is empty. A large one is parsed in slices, with other work in between.
 * @throws DavError 400
 */
export async function parseBody(body: Buffer, limits: XmlLimits): Promise<XmlElement | undefined> {
  if (body.length === 0) return undefined
  const text = decodeXml(body)
  const reader = new XmlReader(limits)
  for (let at = 0; at < text.length; at += SLICE) {
    if (at > 0) await loopBudget.rest()
    reader.write(text.slice(at, at + SLICE))
  }
  return reader.finish()
}
