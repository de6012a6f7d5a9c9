import { IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'

/** Receives a request body piece by piece. */
export interface BodyTaker {
  piece(bytes: Buffer): void
  /** Called after the last piece. */
  end(): void
  /** Called instead of `end` if the connection closes first. */
  gone(): void
}

/** A request whose body can be taken directly from Node's parser: the events and buffers of a stream cost more than a small body. */
export class DavRequest extends IncomingMessage {
  #taker: BodyTaker | undefined
  #takenWhole = false
  #whole: Buffer | undefined
  /** Whether anything was passed to the stream. */
  #received = false

  static {
    // TypeScript takes these getters of Node for fields, which cannot be overridden.
    Object.defineProperty(DavRequest.prototype, 'readableEnded', {
      get(this: DavRequest) {
        return this.#takenWhole || Reflect.get(IncomingMessage.prototype, 'readableEnded', this)
      },
    })
  }

  /** Passes the body to `taker` from now on. Returns false if some of it has been received already, or the connection has closed. */
  takeBody(taker: BodyTaker): boolean {
    const whole = this.takeWhole()
    if (whole !== undefined) {
      taker.piece(whole)
      taker.end()
      return true
    }
    if (this.#received || this.destroyed) return false
    this.#taker = taker
    // Tells Node that somebody reads, so that it does not drop the body.
    this._read(0)
    return true
  }

  /** The whole body, if `whenWhole` has waited for it and nobody has taken it yet. */
  takeWhole(): Buffer | undefined {
    const whole = this.#whole
    this.#whole = undefined
    return whole
  }

  /** Keeps a body that was received whole for `takeWhole`. */
  keepWhole(body: Buffer): void {
    this.#whole = body
  }

  /** Ends `takeBody` before the body has ended; the rest can be read like any stream. */
  stopTaking(): void {
    this.#taker = undefined
  }

  override push(piece: Buffer | null): boolean {
    const taker = this.#taker
    if (taker === undefined) {
      this.#received = true
      return super.push(piece)
    }
    if (piece === null) {
      this.#taker = undefined
      this.#takenWhole = true
      taker.end()
    } else {
      taker.piece(piece)
    }
    return true
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const taker = this.#taker
    this.#taker = undefined
    super._destroy(error, callback)
    taker?.gone()
  }
}

/** Passes the body of a request to `taker`, from which nothing has been read yet. Returns what ends that early. */
export function takeBody(req: IncomingMessage, taker: BodyTaker): () => void {
  if (req instanceof DavRequest && req.takeBody(taker)) return () => req.stopTaking()
  const piece = (bytes: Buffer) => taker.piece(bytes)
  const gone = () => taker.gone()
  const end = () => {
    req.off('close', gone)
    taker.end()
  }
  req.on('data', piece).on('end', end).on('close', gone)
  return () => req.off('data', piece).off('end', end).off('close', gone).pause()
}

/** Bodies up to this size are waited for, in bytes. */
const MOST_WAITED_BYTES = 16 * 1024

/** The bodies that are waited for until the end of this turn of the event loop. */
let collectors: Collector[] = []

function endTurn(): void {
  const late = collectors
  collectors = []
  for (const collector of late) collector.giveUp()
}

/**
 * Calls `go` when the whole body is in memory, if it is small and arrives in this turn of the event loop, as small bodies usually do; otherwise at once or
 * at the end of this turn. A handler that finds the body there can answer without waiting.
 */
export function whenWhole(req: IncomingMessage, go: () => void): void {
  const { 'content-length': field, expect } = req.headers
  const length = field === undefined || field.length > 5 ? 0 : Number(field)
  const waits = length > 0 && length <= MOST_WAITED_BYTES && expect === undefined && req instanceof DavRequest
  const collector = waits ? new Collector(req, go) : undefined
  if (collector === undefined || !collector.begin()) go()
  else if (collectors.push(collector) === 1) setImmediate(endTurn)
}

/** Collects the body of a request. */
class Collector implements BodyTaker {
  readonly #req: DavRequest
  readonly #go: () => void
  readonly #pieces: Buffer[] = []
  #ended = false

  constructor(req: DavRequest, go: () => void) {
    this.#req = req
    this.#go = go
  }

  /** Returns false if it is too late. */
  begin(): boolean {
    return this.#req.takeBody(this)
  }

  piece(bytes: Buffer): void {
    this.#pieces.push(bytes)
  }

  end(): void {
    this.#ended = true
    const [first] = this.#pieces
    if (first !== undefined) this.#req.keepWhole(this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces))
    this.#go()
  }

  gone(): void {
    this.#ended = true
  }

  /** Stops waiting. What has been received can be read like any stream. */
  giveUp(): void {
    if (this.#ended) return
    this.#req.stopTaking()
    for (const piece of this.#pieces) this.#req.push(piece)
    this.#go()
  }
}

const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const HEAD_ENCODING = 'latin1'

/** How long an idle connection stays open, in seconds. Responses say so to clients. */
export const KEEP_ALIVE_SECONDS = 75
const PERSISTENT = `Connection: keep-alive\r\nKeep-Alive: timeout=${KEEP_ALIVE_SECONDS}\r\n`

/** A response that can be sent whole, with its header, by a single write to the connection. */
export class DavResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  #sent = false
  #written = false

  static {
    Object.defineProperties(DavResponse.prototype, {
      headersSent: {
        get(this: DavResponse) {
          return this.#sent || Reflect.get(ServerResponse.prototype, 'headersSent', this)
        },
      },
      writableFinished: {
        get(this: DavResponse) {
          return this.#sent ? this.#written : Reflect.get(ServerResponse.prototype, 'writableFinished', this)
        },
      },
    })
  }

  /**
   * Sends header and body. The bytes of the body are the characters of `body`; the response to HEAD has none. Returns false without having sent anything
   * if only the methods of ServerResponse can send this response: the connection is to end after it, or an earlier response is not complete.
   *
   * @param headers a flat list of names and values with everything but the fields about the connection
   * @param date the Date field
   */
  answer(status: number, headers: readonly string[], date: string, body: string): boolean {
    const socket = this.#free()
    if (socket === undefined) return false
    const head = this.#head(status, headers, date)
    this.#send(status)
    socket.write(this.req.method === 'HEAD' ? head : head + body, HEAD_ENCODING, this.#ended())
    return true
  }

  /**
   * Like `answer`, with a body in memory that must not change until the event `finish`. The header is written in front of it, where `room` bytes are free.
   *
   * @param bytes `room` free bytes and the body
   */
  answerBytes(status: number, headers: readonly string[], date: string, bytes: Buffer, room: number): boolean {
    const socket = this.#free()
    if (socket === undefined) return false
    const head = this.#head(status, headers, date)
    if (head.length > room) return false
    const start = room - head.length
    bytes.write(head, start, HEAD_ENCODING)
    this.#send(status)
    socket.write(start === 0 ? bytes : bytes.subarray(start), this.#ended())
    return true
  }

  /** The connection, if this response is the next on it and nothing of it was sent. */
  #free(): Socket | undefined {
    const { socket } = this
    const free =
      socket !== null && !socket.destroyed && this.shouldKeepAlive && !this.headersSent && !this.writableEnded
    return free ? socket : undefined
  }

  #head(status: number, headers: readonly string[], date: string): string {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`
    for (let i = 0; i < headers.length; i += 2) {
      const value = headers[i + 1] as string
      if (!FIELD_VALUE.test(value)) throw new TypeError(`invalid characters in the field ${headers[i]}`)
      head += `${headers[i]}: ${value}\r\n`
    }
    return `${head}Date: ${date}\r\n${PERSISTENT}\r\n`
  }

  #send(status: number): void {
    this.statusCode = status
    this.#sent = true
    // Further writes are errors, as after `end`.
    this.finished = true
  }

  /** Node's server goes on with the connection at the event `finish`. A failed write closes the connection, which is told by `close`. */
  #ended(): (error?: Error | null) => void {
    return (error) => {
      if (error) return
      this.#written = true
      this.emit('finish')
    }
  }
}

/** Options for an HTTP server whose requests and responses cost less in this adapter. */
export const HTTP_MESSAGES = { IncomingMessage: DavRequest, ServerResponse: DavResponse }
