import type { ServerResponse } from 'node:http'
import { ClientGone } from '../http/client-gone.ts'
import { httpDate } from '../http/http-date.ts'
import type { DavContext } from '../state/context.ts'

/** Responds without a body. `headers` is a flat list of names and values. */
export function sendEmpty(ctx: DavContext, status: number, headers: readonly string[] = []): void {
  const length = status === 204 || status === 304 ? [] : ['Content-Length', '0']
  ctx.res.writeHead(status, [...headers, ...length])
  ctx.res.end()
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

/** Responds with a whole body whose bytes are the characters of `text`. Node writes it in one piece with the header. */
export function sendText(
  ctx: DavContext,
  status: number,
  type: string,
  text: string,
  headers: readonly string[] = [],
): void {
  ctx.res.writeHead(status, [...headers, 'Content-Type', type, 'Content-Length', String(text.length)])
  ctx.res.end(text, 'latin1')
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
