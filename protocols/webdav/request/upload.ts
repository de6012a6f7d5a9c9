import { ClientGone } from '../http/client-gone.ts'
import { badRequest } from '../http/dav-error.ts'
import { type BodyTaker, takeBody } from '../http/dav-message.ts'
import type { Summer } from '../state/checksums.ts'
import type { DavContext } from '../state/context.ts'
import { announcedLength, letBodyCome } from './body.ts'
import { hasMovedEnough, nextPiece } from './data-turns.ts'
import { PaceWatch } from './pace.ts'

const BATCH_BYTES = 1024 * 1024
/** The batch size of an upload while many are in progress, so that a thousand slow ones use little memory. */
const SMALL_BATCH_BYTES = 64 * 1024
/** Above this total, many uploads are in progress. */
const MANY_BYTES = 32 * 1024 * 1024

/** Bodies up to this size are received whole before anything is written. */
const SMALL_BODY_BYTES = 64 * 1024

/** An upload can read this much from its socket before it can be stopped. */
const BYTES_UNTIL_STOPPED = 128 * 1024

/** The bytes that all uploads have read from their sockets and not yet passed to the disk. */
let gatheredBytes = 0

function batchBytes(): number {
  return gatheredBytes > MANY_BYTES ? SMALL_BATCH_BYTES : BATCH_BYTES
}

/**
 * Frees the memory of a piece of a body that nobody needs any more. V8 would free it much later, by a collection of its whole heap, which pieces outside
 * the heap cause whenever there are enough of them.
 */
function free(piece: Buffer): void {
  const { buffer } = piece
  // Node's parser makes one buffer for each piece.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === piece.length) buffer.transfer(0)
}

/** The destination of a body: a staged file, or anything that appends like one. */
export interface BodySink {
  /** Must not keep the chunks: their memory is freed afterwards. */
  append(chunks: readonly Uint8Array[]): Promise<void>
  /** Bytes appended so far. */
  readonly sizeBytes: number
}

/**
 * Appends the whole body of the request to `staged`. While one batch of about 1 MiB is written, the next is read from the socket,
 * and the client is slowed down if the disk is slower. Returns only when the body is complete.
 *
 * @param summer receives each piece as it arrives
 * @throws DavError 400 the body is shorter than declared · ClientGone · ENOSPC | EDQUOT | EIO
 */
export async function receiveBody(ctx: DavContext, staged: BodySink, summer?: Summer): Promise<void> {
  const announced = announcedLength(ctx.req)
  if (announced === 0) return
  letBodyCome(ctx)
  if (announced !== undefined && announced <= SMALL_BODY_BYTES) {
    const pieces = await new SmallBody(ctx, summer).read()
    await staged.append(pieces)
    for (const piece of pieces) free(piece)
  } else {
    await new Upload(ctx, staged, summer).run()
  }
  if (announced !== undefined && staged.sizeBytes !== announced)
    throw badRequest('the body does not have the announced length')
}

/** A body that is received whole before it is written. */
class SmallBody implements BodyTaker {
  readonly #ctx: DavContext
  readonly #summer: Summer | undefined
  readonly #watch: PaceWatch
  readonly #pieces: Buffer[] = []
  #size = 0
  #waits = false
  #resolve!: (pieces: Buffer[]) => void
  #reject!: (error: Error) => void

  constructor(ctx: DavContext, summer: Summer | undefined) {
    this.#ctx = ctx
    this.#summer = summer
    this.#watch = new PaceWatch(
      ctx,
      () => this.#size,
      () => false,
    )
  }

  read(): Promise<Buffer[]> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      if (this.#ctx.req.destroyed) this.gone()
      else takeBody(this.#ctx.req, this)
    })
  }

  piece(bytes: Buffer): void {
    this.#pieces.push(bytes)
    this.#size += bytes.length
    gatheredBytes += bytes.length
    this.#summer?.add(bytes)
    this.#ctx.services.counters.bytesIn += bytes.length
    if (hasMovedEnough(bytes.length)) this.#waits = true
  }

  end(): void {
    this.#ended(true)
    if (this.#waits) nextPiece(this.#size, () => this.#resolve(this.#pieces))
    else this.#resolve(this.#pieces)
  }

  gone(): void {
    this.#ended(false)
    // As many uploads may be abandoned at once as began.
    nextPiece(this.#size, () => this.#reject(new ClientGone()))
  }

  #ended(complete: boolean): void {
    this.#watch.end(complete)
    gatheredBytes -= this.#size
  }
}

class Upload {
  readonly #ctx: DavContext
  readonly #staged: BodySink
  readonly #summer: Summer | undefined
  readonly #watch: PaceWatch
  #pending: Buffer[] = []
  #pendingBytes = 0
  /** The batch that is being written. */
  #written: Buffer[] = []
  #receivedBytes = 0
  #appending = false
  /** Waits for its turn to continue reading. */
  #waits = false
  #ended = false
  #failure: unknown
  #settle: (() => void) | undefined

  constructor(ctx: DavContext, staged: BodySink, summer: Summer | undefined) {
    this.#summer = summer
    this.#ctx = ctx
    this.#staged = staged
    this.#watch = new PaceWatch(
      ctx,
      () => this.#receivedBytes,
      () => this.#appending || this.#waits,
    )
  }

  async run(): Promise<void> {
    const { req } = this.#ctx
    await new Promise<void>((resolve) => {
      this.#settle = resolve
      if (req.destroyed) this.#close()
      else req.on('data', this.#take).on('end', this.#end).on('close', this.#close)
    })
    this.#watch.end(false)
    // The rest of a failed upload.
    gatheredBytes -= this.#pendingBytes
    this.#pendingBytes = 0
    req.off('data', this.#take).off('end', this.#end).off('close', this.#close)
    if (this.#failure !== undefined) throw this.#failure
  }

  readonly #take = (piece: Buffer): void => {
    this.#pending.push(piece)
    this.#pendingBytes += piece.length
    gatheredBytes += piece.length
    this.#receivedBytes += piece.length
    this.#summer?.add(piece)
    this.#ctx.services.counters.bytesIn += piece.length
    if (hasMovedEnough(piece.length)) this.#waitForTurn()
    if (this.#pendingBytes < batchBytes()) return
    if (this.#appending) this.#ctx.req.pause()
    else this.#append()
  }

  #waitForTurn(): void {
    this.#ctx.req.pause()
    if (this.#waits) return
    this.#waits = true
    nextPiece(BYTES_UNTIL_STOPPED, () => {
      this.#waits = false
      this.#readOn()
    })
  }

  /** Continues reading, unless the upload waits for the disk or for its turn. */
  #readOn(): void {
    if (this.#waits || this.#ended || this.#failure !== undefined) return
    if (this.#appending && this.#pendingBytes >= batchBytes()) return
    this.#ctx.req.resume()
  }

  readonly #end = (): void => {
    this.#ended = true
    this.#watch.end(true)
    this.#advance()
  }

  readonly #close = (): void => {
    if (this.#ended || this.#failure !== undefined) return
    this.#failure = new ClientGone()
    // A thousand uploads may be abandoned at once, and each leaves a file to remove.
    nextPiece(BYTES_UNTIL_STOPPED, () => this.#advance())
  }

  /** Starts the next step if none is running. Always waits for a batch that is being written. */
  #advance(): void {
    if (this.#appending) return
    if (this.#failure !== undefined) this.#settle?.()
    else if (this.#ended && this.#pendingBytes === 0) this.#settle?.()
    else if (this.#ended || this.#pendingBytes >= batchBytes()) this.#append()
    else this.#readOn()
  }

  #append(): void {
    const batch = this.#pending
    this.#pending = []
    gatheredBytes -= this.#pendingBytes
    this.#pendingBytes = 0
    this.#appending = true
    this.#written = batch
    this.#staged.append(batch).then(this.#appended, this.#failed)
  }

  readonly #appended = (): void => {
    this.#appending = false
    for (const piece of this.#written) free(piece)
    this.#written = []
    this.#readOn()
    this.#advance()
  }

  readonly #failed = (error: unknown): void => {
    this.#appending = false
    this.#failure ??= error
    this.#advance()
  }
}
