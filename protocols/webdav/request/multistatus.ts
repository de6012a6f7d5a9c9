import { loopBudget } from '../../../overlay-core/index.ts'
import { statusLine } from '../http/status.ts'
import { utf8AsText } from '../http/xml-write.ts'
import type { DavContext } from '../state/context.ts'
import { limitSilence } from './pace.ts'
import { sendBody, sendText, writeOut, XML_TYPE } from './reply.ts'

// One character for each byte, like all text here.
const HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
const TAIL = '</D:multistatus>\n'
const PIECE_BYTES = 128 * 1024
/** Responses up to this size are collected as text and sent in one write with the header. */
const MOST_TEXT_BYTES = 16 * 1024
/** The size of the buffer of a larger response. */
const BUFFER_BYTES = PIECE_BYTES + MOST_TEXT_BYTES
const MOST_SPARE = 8

/** Buffers for reuse: otherwise those of hundreds of responses wait for the garbage collector. */
const spare: Buffer[] = []

function release(buffer: Buffer): void {
  if (buffer.length === BUFFER_BYTES && spare.length < MOST_SPARE) spare.push(buffer)
}

/**
 * A 207 response (RFC 4918 section 13) that is sent in bounded pieces while it is built. A small one is sent whole, with
 * its length. Nothing is sent before the first piece is full.
 */
export class Multistatus {
  readonly #ctx: DavContext
  /** The response so far, until it is too large. */
  #text = HEAD
  /** What was not sent yet of a larger response, because joining thousands of strings costs twenty times as much. */
  #piece: Buffer | undefined
  #used = 0
  #started = false

  constructor(ctx: DavContext) {
    this.#ctx = ctx
  }

  /** Adds `response` elements. If it returns a promise, wait for it before adding more, because the client reads slowly. @throws ClientGone */
  add(xml: string): undefined | Promise<void> {
    return this.addBytes(utf8AsText(xml))
  }

  /** Like `add`, with one character for each byte of UTF-8. */
  addBytes(xml: string): undefined | Promise<void> {
    if (this.#piece === undefined && this.#text.length + xml.length + TAIL.length <= MOST_TEXT_BYTES) {
      this.#text += xml
      return undefined
    }
    const piece = this.#put(xml)
    return this.#used < PIECE_BYTES ? undefined : this.#flush(piece)
  }

  /** Ends the response. */
  end(): void {
    if (this.#piece === undefined) {
      sendText(this.#ctx, 207, XML_TYPE, this.#text + TAIL)
      return
    }
    const piece = this.#put(TAIL)
    const rest = piece.subarray(0, this.#used)
    // Then the kernel has the whole response. Without this event the buffer is dropped.
    this.#ctx.res.on('finish', () => release(piece))
    if (this.#started) this.#ctx.res.end(rest)
    else sendBody(this.#ctx, 207, XML_TYPE, rest)
  }

  /** Writes `text` into the piece, which it returns: a larger one if it does not fit. */
  #put(text: string): Buffer {
    const before = this.#piece
    if (before === undefined) this.#used = this.#text.length
    const needed = this.#used + text.length
    let piece = before
    if (piece === undefined || needed > piece.length) {
      piece =
        (needed <= BUFFER_BYTES ? spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(Math.max(needed, BUFFER_BYTES))
      if (before === undefined) piece.write(this.#text, 'latin1')
      else piece.set(before.subarray(0, this.#used))
      if (before !== undefined) release(before)
      this.#piece = piece
      this.#text = ''
    }
    piece.write(text, this.#used, 'latin1')
    this.#used = needed
    return piece
  }

  async #flush(piece: Buffer): Promise<void> {
    if (!this.#started) {
      this.#started = true
      limitSilence(this.#ctx)
      this.#ctx.res.writeHead(207, ['Content-Type', XML_TYPE])
    }
    const length = this.#used
    this.#used = 0
    // The piece is overwritten only after the kernel has taken it, because callers of add wait.
    await writeOut(this.#ctx.res, piece.subarray(0, length))
    // A fast client never makes this wait, but others must get their turn nevertheless.
    await loopBudget.rest()
  }
}

/** A `response` element with one status for a whole resource. `condition` is the content of `DAV:error`. */
export function statusResponse(href: string, status: number, condition?: string): string {
  const error = condition === undefined ? '' : `<D:error>${condition}</D:error>`
  return `<D:response><D:href>${href}</D:href><D:status>${statusLine(status)}</D:status>${error}</D:response>`
}
