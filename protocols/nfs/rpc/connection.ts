import type { Socket } from 'node:net'
import { XdrError } from '../xdr/xdr-error.ts'
import { adoptSocket } from './adopt-socket.ts'
import type { BusyPoll } from './busy-poll.ts'
import { type Peer, RpcCall, securedPeer } from './call.ts'
import type { Chunk, ChunkPool } from './chunk-pool.ts'
import type { ClientShare, Waiting } from './client-share.ts'
import type { Counters } from './counters.ts'
import { CredentialCache } from './credential.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { ClientDuplicates } from './duplicate-cache.ts'
import type { Logger } from './logger.ts'
import { RecordError, type RecordLimits, RecordReader } from './record-reader.ts'
import { ReplyQueue } from './reply-queue.ts'
import { type ByteStream, SecureStream } from './secure-stream.ts'
import type { SecuredConnection, StartTls } from './start-tls.ts'

/** After how many calls, or bytes of replies, it is checked whether the turn of the client is over. */
const CALLS_PER_LOOK = 16
const BYTES_PER_LOOK = 32 * 1024
/** The number of unused call objects that a connection keeps, of about 1 KiB each. */
const MOST_IDLE_CALLS = 8

/** Limits on the work in progress of one connection, above which reading stops. */
export interface ConnectionLimits extends RecordLimits {
  /** Calls that wait for a disk. */
  readonly maxInFlight: number
  /** Bytes of replies that the peer has not read. */
  readonly maxUnsentBytes: number
  /** Memory of replies being built. */
  readonly maxReservedBytes: number
  /** Bytes of consecutive replies before other connections get their turn. */
  readonly turnBytes: number
}

/** Objects shared by all connections of a server. */
export interface ConnectionContext {
  readonly pool: ChunkPool
  readonly dispatcher: Dispatcher
  readonly counters: Counters
  readonly limits: ConnectionLimits
  readonly log: Logger
  readonly now: () => number
  readonly busyPoll: BusyPoll
  /** Encrypts connections whose client asks for it. */
  readonly startTls: StartTls | undefined
  /** The replies to a client that has another name since its handshake. */
  readonly duplicatesOf: (client: string) => ClientDuplicates
}

/** The share of the client of this connection. */
export interface ConnectionClient {
  readonly duplicates: ClientDuplicates
  readonly share: ClientShare
}

/** One TCP connection: reads records, dispatches them, sends the replies, and stops reading while too much is in progress. */
export class Connection implements Waiting {
  peer: Peer
  /** Resolves when the connection is gone and its last call has ended. */
  readonly closed: Promise<void>
  readonly #context: ConnectionContext
  /** What was accepted; TLS is on top of it. */
  readonly #accepted: Socket
  #socket: ByteStream
  /** Where the latest bytes in clear text went. */
  #place: Buffer = Buffer.alloc(0)
  readonly #reader: RecordReader
  #replies: ReplyQueue
  #credentials = new CredentialCache()
  #duplicates: ClientDuplicates
  readonly #share: ClientShare
  #call: RpcCall
  /** Objects for further calls. */
  #idleCalls: RpcCall[] = []
  #inFlight = 0
  #gone = false
  #used = false
  /** Whether reading has stopped; the reader may still contain complete records. */
  #paused = false
  /** Whether it is queued in the client's share, which resumes it. */
  #inLine = false
  /** Whether reading has stopped for lack of memory for a large record. */
  #hungry = false
  /** When it was first seen to hold a large block; 0 if it holds none. */
  #hoardsSinceMs = 0
  #resumeScheduled = false
  #flushScheduled = false
  #draining = false
  /** Whether the client begins TLS: what it sends is not a record. */
  #startingTls = false
  #ended: () => void = () => undefined
  /** When the peer last sent or read data, in ms of the injected clock. */
  #activeMs: number
  /** When the present turn of this connection began. */
  #turnStartMs = 0

  constructor(accepted: Socket, peer: Peer, client: ConnectionClient, context: ConnectionContext) {
    this.peer = peer
    this.#context = context
    this.#duplicates = client.duplicates
    this.#share = client.share
    this.#activeMs = context.now()
    this.#reader = new RecordReader(context.pool, context.limits)
    this.#accepted = adoptSocket(accepted, {
      buffer: () => {
        this.#place = this.#reader.target()
        return this.#place
      },
      callback: this.#received,
    })
    this.#socket = this.#accepted
    this.#replies = new ReplyQueue(context.pool, this.#socket, () => this.#sent())
    this.#call = new RpcCall(peer, this.#replies, this.#credentials)
    this.closed = new Promise((resolve) => {
      this.#ended = resolve
    })
    this.#accepted.setNoDelay(true)
    this.#accepted.setKeepAlive(true)
    this.#accepted.on('error', (error) =>
      context.log.debug({ client: peer.address, why: error.message }, 'connection lost'),
    )
    this.#accepted.on('close', () => this.#onClose())
  }

  /** Bytes that came and went on its socket. */
  get bytes(): { readonly in: number; readonly out: number } {
    return { in: this.#accepted.bytesRead, out: this.#accepted.bytesWritten }
  }

  /** Whether it has had a call. */
  get used(): boolean {
    return this.#used
  }

  /** How long the connection has been quiet, and why: `idle` means nothing is in progress, `stalled` that the peer delays a message or a reply. */
  quiet(nowMs: number): { ms: number; kind: 'idle' | 'stalled' | 'busy' } {
    const ms = nowMs - this.#activeMs
    if (this.#startingTls || this.#replies.unsentBytes > 0) return { ms, kind: 'stalled' }
    if (this.#inFlight > 0 || this.#paused) return { ms, kind: 'busy' }
    return { ms, kind: this.#reader.partial ? 'stalled' : 'idle' }
  }

  /** How long the connection has held a large block that its peer should have freed, in ms; 0 if it holds none. */
  hoards(nowMs: number): number {
    const holds = this.#reader.holdsLarge || this.#replies.unsentBytes > this.#context.pool.smallBytes
    if (!holds) this.#hoardsSinceMs = 0
    else if (this.#hoardsSinceMs === 0) this.#hoardsSinceMs = nowMs
    return holds ? nowMs - this.#hoardsSinceMs : 0
  }

  /** Resumes reading a large record, because memory is available again. */
  feed(): void {
    if (!this.#hungry) return
    this.#hungry = false
    this.#resumeIfPossible()
  }

  /** Closes the connection at once; running calls get no reply. */
  destroy(): void {
    this.#accepted.destroy()
  }

  /** Stops reading, and closes the connection once the calls in progress are answered. */
  drain(): void {
    this.#draining = true
    if (this.#startingTls) this.destroy()
    this.#socket.pause()
    this.#endIfDrained()
  }

  readonly #received = (count: number): boolean => {
    this.#activeMs = this.#context.now()
    this.#turnStartMs = this.#activeMs
    if (this.#startingTls) {
      this.#beginTls(count)
      return false
    }
    this.#reader.filled(count)
    if (!this.#draining) this.#work()
    if (this.#inFlight === 0) this.#context.busyPoll.answered()
    return !this.#paused && !this.#draining
  }

  /** Processes the available records, as far as the limits allow, and sends finished replies. */
  #work(): void {
    const turnEnd = this.#context.limits.turnBytes
    const endMs = this.#share.begin(this.#turnStartMs)
    this.#context.dispatcher.begin()
    let answered = 0
    let nextLook = BYTES_PER_LOOK
    try {
      while (!this.#gone) {
        // A few slow calls count as much as many fast ones.
        const { queuedBytes } = this.#replies
        if (++answered % CALLS_PER_LOOK === 0 || queuedBytes >= nextLook) {
          nextLook = queuedBytes + BYTES_PER_LOOK
          if (this.#context.now() >= endMs) this.#share.endTurn()
        }
        if (this.#overloaded || queuedBytes > turnEnd) {
          this.#paused = true
          break
        }
        if (this.#share.mustWait) {
          this.#waitInLine()
          break
        }
        if (!this.#reader.next()) {
          if (this.#reader.needsLarger && this.#context.pool.full) this.#paused = this.#hungry = true
          break
        }
        this.#answer(this.#reader.record)
        if (this.#startingTls || !this.#reader.partial) break
      }
    } catch (error) {
      this.#garbage(error)
    }
    if (!this.#gone) this.#replies.flush()
    if (this.#paused) this.#resumeIfPossible()
  }

  #answer(record: Chunk): void {
    const call = this.#call
    this.#used = true
    this.#share.taken()
    call.args.reset(record.bytes, record.view, this.#reader.recordStart, this.#reader.recordEnd)
    const result = this.#context.dispatcher.dispatch(call, this.#duplicates)
    if (!(result instanceof Promise)) {
      if (call.asksForTls) this.#expectTls()
      return
    }
    // The call continues asynchronously: it keeps its object, and its arguments stay in place.
    this.#call = this.#idleCalls.pop() ?? new RpcCall(this.peer, this.#replies, this.#credentials)
    const bytes = this.#reader.recordEnd - this.#reader.recordStart
    this.#inFlight++
    this.#share.begun(bytes)
    record.retain()
    result.then(
      () => this.#answeredLater(call, record, bytes),
      (error) => {
        this.#garbage(error)
        this.#answeredLater(call, record, bytes)
      },
    )
  }

  #answeredLater(call: RpcCall, record: Chunk, bytes: number): void {
    record.release()
    // The object that was used last has everything that the next call needs.
    if (this.#idleCalls.length < MOST_IDLE_CALLS) this.#idleCalls.push(this.#call)
    this.#call = call
    this.#inFlight--
    // Otherwise the connection would be closed before the reply to a long call is sent.
    this.#activeMs = this.#context.now()
    this.#share.ended(bytes)
    if (this.#gone) {
      if (this.#inFlight === 0) this.#ended()
      return
    }
    if (!this.#flushScheduled) {
      this.#flushScheduled = true
      // After all calls that complete in this turn of the event loop, so that their replies are sent together.
      setImmediate(() => {
        this.#flushScheduled = false
        this.#flush()
        this.#endIfDrained()
      })
    }
    this.#resumeIfPossible()
  }

  /** Called when the socket has taken bytes. */
  #sent(): void {
    if (this.#gone) return
    this.#activeMs = this.#context.now()
    if (this.#paused) this.#resumeIfPossible()
  }

  #flush(): void {
    if (!this.#gone) this.#replies.flush()
  }

  get #overloaded(): boolean {
    const { limits } = this.#context
    return (
      this.#inFlight >= limits.maxInFlight ||
      this.#socket.writableLength > limits.maxUnsentBytes ||
      this.#replies.reservedBytes > limits.maxReservedBytes
    )
  }

  #resumeIfPossible(): void {
    if (this.#paused && !this.#inLine && !this.#hungry && !this.#overloaded) this.#scheduleResume()
  }

  #waitInLine(): void {
    this.#paused = true
    if (this.#inLine) return
    this.#inLine = true
    this.#share.wait(this)
  }

  /**
   * The client begins TLS next. Nothing else may be in progress: what it has sent in clear text, or gets so, would otherwise be taken for a part of the encrypted
   * connection (RFC 9289 section 4.1).
   */
  #expectTls(): void {
    if (this.#inFlight > 0 || this.#reader.partial || this.#socket.writableLength > 0)
      throw new RecordError('TLS asked for in the middle of other calls')
    this.#startingTls = true
  }

  /** The first bytes of a handshake are in the reader. */
  #beginTls(count: number): void {
    const first = Buffer.from(this.#place.subarray(0, count))
    this.#context.startTls?.begin(this.#accepted, first, (secured) => this.#continueWithTls(secured))
  }

  /** From here on everything is encrypted, and the caller may be another one: nothing that was known about it counts. */
  #continueWithTls({ socket, identity }: SecuredConnection): void {
    if (this.#gone || this.#draining) {
      this.destroy()
      return
    }
    const { counters, pool, duplicatesOf, log, now } = this.#context
    counters.secured++
    if (identity !== undefined) counters.certified++
    this.peer = securedPeer(this.peer, identity)
    const stream = new SecureStream(socket, {
      target: () => this.#reader.target(),
      filled: this.#received,
    })
    socket.on('error', (error) => log.debug({ client: this.peer.address, why: error.message }, 'connection lost'))
    this.#socket = stream
    this.#replies.close()
    this.#replies = new ReplyQueue(pool, stream, () => this.#sent())
    this.#credentials = new CredentialCache()
    this.#duplicates.disconnected()
    this.#duplicates = duplicatesOf(this.peer.client)
    this.#call = new RpcCall(this.peer, this.#replies, this.#credentials)
    this.#idleCalls = []
    this.#startingTls = false
    this.#activeMs = now()
  }

  /** Called when it is the client's turn. */
  goOn(): void {
    this.#inLine = false
    if (this.#gone || this.#draining || this.#hungry || this.#overloaded) return
    this.#resume()
  }

  #resume(): void {
    this.#paused = false
    this.#turnStartMs = this.#context.now()
    this.#work()
    if (!this.#paused && !this.#gone) this.#socket.resume()
  }

  #scheduleResume(): void {
    if (this.#resumeScheduled) return
    this.#resumeScheduled = true
    setImmediate(() => {
      this.#resumeScheduled = false
      if (this.#gone || this.#draining || this.#inLine || this.#hungry || this.#overloaded) return
      this.#resume()
    })
  }

  #endIfDrained(): void {
    if (!this.#draining || this.#gone || this.#inFlight > 0) return
    this.#flush()
    this.#socket.end(() => this.destroy())
  }

  #garbage(error: unknown): void {
    const { counters, log } = this.#context
    if (error instanceof XdrError || error instanceof RecordError) {
      counters.garbage++
      log.warn({ client: this.peer.address, why: error.message }, 'closed a connection that does not speak RPC')
    } else {
      counters.systemErrors++
      log.error({ err: error, client: this.peer.address }, 'connection closed')
    }
    this.#flush()
    this.destroy()
  }

  #onClose(): void {
    if (this.#gone) return
    this.#gone = true
    this.#share.disconnected(this)
    this.#duplicates.disconnected()
    this.#reader.close()
    this.#replies.close()
    if (this.#inFlight === 0) this.#ended()
  }
}
