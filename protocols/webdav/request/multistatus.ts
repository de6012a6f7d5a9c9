import { loopBudget } from '../../../overlay-core/index.ts'
import { statusLine } from '../http/status.ts'
import type { DavContext } from '../state/context.ts'
import { limitSilence } from './pace.ts'
import { sendBody, sendText, writeOut, XML_TYPE } from './reply.ts'

const HEAD = Buffer.from('<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">')
const TAIL = Buffer.from('</D:multistatus>\n')
const PIECE_BYTES = 128 * 1024
const FIRST_BYTES = 4 * 1024
/** Responses up to this size are sent as text, which Node joins with the header. */
const MOST_TEXT_BYTES = 16 * 1024
/** The size of the buffer of a response that is larger than the first one. */
const LARGE_BYTES = PIECE_BYTES + FIRST_BYTES
const MOST_SPARE = 16
const MOST_SPARE_LARGE = 8

/** First buffers for reuse: a new one for each response would cost more than the rest of a short response. */
const spare: Buffer[] = []
/** Large ones for reuse: otherwise those of hundreds of responses wait for the garbage collector. */
const spareLarge: Buffer[] = []

function release(buffer: Buffer): void {
  if (buffer.length === FIRST_BYTES && spare.length < MOST_SPARE) spare.push(buffer)
  else if (buffer.length === LARGE_BYTES && spareLarge.length < MOST_SPARE_LARGE) spareLarge.push(buffer)
}

/**
 * A 207 response (RFC 4918 section 13) that is sent in bounded pieces while it is built. A small one is sent whole, with
 * its length. Nothing is sent before the first piece is full.
 */
export class Multistatus {
  readonly #ctx: DavContext
  // Bytes are collected in one buffer, because joining thousands of strings costs twenty times as much.
  #piece = spare.pop() ?? Buffer.allocUnsafeSlow(FIRST_BYTES)
  #used = 0
  #started = false

  constructor(ctx: DavContext) {
    this.#ctx = ctx
    this.#put(HEAD)
  }

  /** Adds `response` elements. If it returns a promise, wait for it before adding more, because the client reads slowly. @throws ClientGone */
  add(xml: string | Uint8Array): undefined | Promise<void> {
    this.#put(typeof xml === 'string' ? Buffer.from(xml, 'utf8') : xml)
    return this.#used < PIECE_BYTES ? undefined : this.#flush()
  }

  /** Ends the response. */
  end(): void {
    this.#put(TAIL)
    const piece = this.#piece
    const rest = piece.subarray(0, this.#used)
    if (!this.#started && rest.length <= MOST_TEXT_BYTES) {
      sendText(this.#ctx, 207, XML_TYPE, rest.toString('latin1'))
      release(piece)
      return
    }
    // Then the kernel has the whole response. Without this event the buffer is dropped.
    this.#ctx.res.on('finish', () => release(piece))
    if (this.#started) this.#ctx.res.end(rest)
    else sendBody(this.#ctx, 207, XML_TYPE, rest)
  }

  #put(bytes: Uint8Array): void {
    const needed = this.#used + bytes.length
    if (needed > this.#piece.length) {
      const large = needed <= LARGE_BYTES ? spareLarge.pop() : undefined
      const larger = large ?? Buffer.allocUnsafeSlow(Math.max(needed, LARGE_BYTES))
      larger.set(this.#piece.subarray(0, this.#used))
      release(this.#piece)
      this.#piece = larger
    }
    this.#piece.set(bytes, this.#used)
    this.#used = needed
  }

  async #flush(): Promise<void> {
    if (!this.#started) {
      this.#started = true
      limitSilence(this.#ctx)
      this.#ctx.res.writeHead(207, ['Content-Type', XML_TYPE])
    }
    const length = this.#used
    this.#used = 0
    // The piece is overwritten only after the kernel has taken it, because callers of add wait.
    await writeOut(this.#ctx.res, this.#piece.subarray(0, length))
    // A fast client never makes this wait, but others must get their turn nevertheless.
    await loopBudget.rest()
  }
}

/** A `response` element with one status for a whole resource. `condition` is the content of `DAV:error`. */
export function statusResponse(href: string, status: number, condition?: string): string {
  const error = condition === undefined ? '' : `<D:error>${condition}</D:error>`
  return `<D:response><D:href>${href}</D:href><D:status>${statusLine(status)}</D:status>${error}</D:response>`
}
