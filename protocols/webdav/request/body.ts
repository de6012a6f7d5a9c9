import type { IncomingMessage } from 'node:http'
import { loopBudget, type MaybePromise } from '../../../overlay-core/index.ts'
import { ClientGone } from '../http/client-gone.ts'
import { DavError } from '../http/dav-error.ts'
import { type BodyTaker, DavRequest, takeBody } from '../http/dav-message.ts'
import { decodeXml, type XmlElement, type XmlLimits, XmlReader } from '../http/xml.ts'
import type { DavContext } from '../state/context.ts'
import { PaceWatch } from './pace.ts'

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
export function readBody(ctx: DavContext, maxBytes: number): MaybePromise<Buffer> {
  const announced = announcedLength(ctx.req)
  if (announced === 0) return EMPTY
  if (announced !== undefined && announced > maxBytes) throw new DavError(413, 'the body is too large')
  refuseContentEncoding(ctx.req)
  const whole = ctx.req instanceof DavRequest ? ctx.req.takeWhole() : undefined
  if (whole !== undefined) return whole
  letBodyCome(ctx)
  return new WholeBody(ctx, maxBytes).read()
}

/** A body that is collected in memory. */
class WholeBody implements BodyTaker {
  readonly #ctx: DavContext
  readonly #maxBytes: number
  readonly #pieces: Buffer[] = []
  readonly #watch: PaceWatch
  #size = 0
  #resolve!: (body: Buffer) => void
  #reject!: (error: Error) => void
  #stop!: () => void

  constructor(ctx: DavContext, maxBytes: number) {
    this.#ctx = ctx
    this.#maxBytes = maxBytes
    this.#watch = new PaceWatch(
      ctx,
      () => this.#size,
      () => false,
    )
  }

  read(): Promise<Buffer> {
    const { req } = this.#ctx
    if (req.destroyed) {
      this.#watch.end(false)
      throw new ClientGone()
    }
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#stop = takeBody(req, this)
    })
  }

  piece(bytes: Buffer): void {
    this.#size += bytes.length
    collectedBytes += bytes.length
    if (collectedBytes > MOST_COLLECTED_BYTES)
      this.#fail(new DavError(503, 'too many large request bodies at once', { headers: ['Retry-After', '2'] }))
    else if (this.#size > this.#maxBytes) this.#fail(new DavError(413, 'the body is too large'))
    else this.#pieces.push(bytes)
  }

  end(): void {
    const [first] = this.#pieces
    const body = this.#pieces.length === 1 ? (first as Buffer) : Buffer.concat(this.#pieces, this.#size)
    this.#done(true)
    this.#resolve(body)
  }

  gone(): void {
    this.#fail(new ClientGone())
  }

  #fail(error: Error): void {
    this.#done(false)
    this.#stop()
    this.#reject(error)
  }

  #done(complete: boolean): void {
    this.#watch.end(complete)
    collectedBytes -= this.#size
    this.#size = 0
  }
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
