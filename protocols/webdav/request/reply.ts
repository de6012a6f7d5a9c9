import type { ServerResponse } from 'node:http'
import { ClientGone } from '../http/client-gone.ts'
import { DavResponse } from '../http/dav-message.ts'
import { httpDate } from '../http/http-date.ts'
import type { DavContext, DavServices } from '../state/context.ts'

/** Responds without a body. `headers` is a flat list of names and values. */
export function sendEmpty(ctx: DavContext, status: number, headers: readonly string[] = []): void {
  sendLatin1(ctx, status, status === 204 || status === 304 ? headers : [...headers, 'Content-Length', '0'], '')
}

/** Responds with a complete header and a body whose bytes are the characters of `text`, in one write if possible. HEAD gets only the header. */
export function sendLatin1(
  { req, res, services }: DavContext,
  status: number,
  headers: readonly string[],
  text: string,
): void {
  if (res instanceof DavResponse && res.answer(status, headers, dateNow(services), text)) return
  res.writeHead(status, headers as string[])
  if (req.method === 'HEAD' || text === '') res.end()
  else res.end(text, 'latin1')
}

/** Like `sendLatin1`, with a body in memory that must not change until the event `finish`. Before it, `room` bytes are free for the header. */
export function sendBytes(
  { res, services }: DavContext,
  status: number,
  headers: readonly string[],
  bytes: Buffer,
  room: number,
): void {
  if (res instanceof DavResponse && res.answerBytes(status, headers, dateNow(services), bytes, room)) return
  res.writeHead(status, headers as string[])
  res.end(bytes.subarray(room))
}

/** The Date field (RFC 9110 section 6.6.1). */
function dateNow({ now }: DavServices): string {
  return httpDate(Math.floor(now() / 1000))
}

/** Responds with a whole body; HEAD gets only the header. */
export function sendBody(
  ctx: DavContext,
  status: number,
  type: string,
  body: string | Uint8Array,
  headers: readonly string[] = [],
): void {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'utf8') : body
  ctx.res.writeHead(status, [...headers, 'Content-Type', type, 'Content-Length', String(bytes.length)])
  if (ctx.req.method === 'HEAD') ctx.res.end()
  else ctx.res.end(bytes)
}

/** Responds with a whole body whose bytes are the characters of `text`. */
export function sendText(
  ctx: DavContext,
  status: number,
  type: string,
  text: string,
  headers: readonly string[] = [],
): void {
  sendLatin1(ctx, status, [...headers, 'Content-Type', type, 'Content-Length', String(text.length)], text)
}

/** The `DAV:error` body of RFC 4918 section 8.7 around `condition`. */
export function errorBody(condition: string): string {
  return `<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:">${condition}</D:error>`
}

/** The media type of all XML from this adapter, exactly as Apache writes it, because old clients accept no other. */
export const XML_TYPE = 'text/xml; charset="utf-8"'

/** A Last-Modified field as a flat pair. It is never in the future, whatever time the file has (RFC 9110 section 8.8.2.1). */
export function lastModified({ services }: DavContext, sec: number): [string, string] {
  return ['Last-Modified', httpDate(Math.min(sec, Math.floor(services.now() / 1000)))]
}

/**
 * Writes a piece of a streamed body. Resolves when the kernel has taken all of it, so that its memory may be reused.
 * @throws ClientGone
 */
export function writeOut(res: ServerResponse, piece: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const close = () => reject(new ClientGone())
    if (res.destroyed || res.socket?.destroyed === true) {
      close()
      return
    }
    res.once('close', close)
    res.write(piece, (error) => {
      res.off('close', close)
      if (error) reject(new ClientGone())
      else resolve()
    })
  })
}
