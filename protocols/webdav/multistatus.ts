import type { DavContext } from './context.ts'
import { sendBody, writeOut, XML_TYPE } from './reply.ts'
import { statusLine } from './status.ts'

const HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
const TAIL = '</D:multistatus>\n'
const PIECE_CHARS = 128 * 1024

/**
 * A 207 answer (RFC 4918 section 13) that is sent in bounded pieces while it is made; one that stays small goes out whole, with
 * its length. Nothing is sent before the first piece is full.
 */
export class Multistatus {
  readonly #ctx: DavContext
  #text = HEAD
  #started = false

  constructor(ctx: DavContext) {
    this.#ctx = ctx
  }

  /** Adds `response` elements. A promise means: wait before adding more, the client reads slowly. @throws ClientGone */
  add(xml: string): undefined | Promise<void> {
    this.#text += xml
    return this.#text.length < PIECE_CHARS ? undefined : this.#flush()
  }

  /** Ends the answer. */
  async end(): Promise<void> {
    if (!this.#started) {
      sendBody(this.#ctx, 207, XML_TYPE, this.#text + TAIL)
      return
    }
    this.#ctx.res.end(this.#text + TAIL)
  }

  #flush(): Promise<void> {
    if (!this.#started) {
      this.#started = true
      this.#ctx.req.socket.setTimeout(this.#ctx.services.limits.idleMs)
      this.#ctx.res.writeHead(207, ['Content-Type', XML_TYPE])
    }
    const text = this.#text
    this.#text = ''
    return writeOut(this.#ctx.res, text)
  }
}

/** A `response` element that gives one status to a whole resource. `condition` is the content of a `DAV:error`. */
export function statusResponse(href: string, status: number, condition?: string): string {
  const error = condition === undefined ? '' : `<D:error>${condition}</D:error>`
  return `<D:response><D:href>${href}</D:href><D:status>${statusLine(status)}</D:status>${error}</D:response>`
}
