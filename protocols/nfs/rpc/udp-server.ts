import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { XdrError } from '../xdr/xdr-error.ts'
import { type Peer, plainAddress, RpcCall } from './call.ts'
import { CallDigest } from './call-digest.ts'
import { ChunkPool } from './chunk-pool.ts'
import type { Counters } from './counters.ts'
import { CredentialCache } from './credential.ts'
import { Dispatcher } from './dispatcher.ts'
import { type ClientDuplicates, DuplicateCache } from './duplicate-cache.ts'
import type { Logger } from './logger.ts'
import { PeerUses } from './peer-uses.ts'
import { ProgramTable, type RpcProgram } from './program.ts'
import { ReplyQueue, type ReplySink } from './reply-queue.ts'

/** The options of an RPC server on UDP. */
export interface UdpServerOptions {
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  readonly programs: readonly RpcProgram[]
  readonly counters: Counters
  readonly log: Logger
  readonly now: () => number
  /** As in `RpcServerOptions`. */
  readonly callKey: Uint8Array
  /** Whether datagrams from an address are processed; others are dropped, so that forged senders cannot make the server send replies to third parties. */
  readonly accepts: (address: string) => boolean
}

/** The size of a record mark, which datagrams do not have. */
const MARK_BYTES = 4
const BLOCK_BYTES = 8 * 1024
const LARGE_BLOCK_BYTES = 128 * 1024

/** Serves small RPC programs in datagrams (RFC 5531 section 11): one call, one reply, no state in between. */
export class UdpServer {
  readonly #options: UdpServerOptions
  readonly #socket: Socket
  readonly #dispatcher: Dispatcher
  readonly #credentials = new CredentialCache()
  readonly #duplicates: ClientDuplicates
  readonly #pool = new ChunkPool({
    smallBytes: BLOCK_BYTES,
    largeBytes: LARGE_BLOCK_BYTES,
    keepSmall: 16,
    keepLarge: 1,
  })

  constructor(options: UdpServerOptions) {
    const { host, programs, counters, log, now, callKey } = options
    this.#options = options
    this.#duplicates = new DuplicateCache(new CallDigest(callKey)).connected('udp')
    this.#dispatcher = new Dispatcher(new ProgramTable(programs), counters, log, now)
    this.#socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    this.#socket.on('message', (message, from) => this.#received(message, from))
  }

  /** Starts to listen; resolves with the port. Rejects with the system's error if it is unavailable. */
  listen(): Promise<number> {
    const { host, port, log } = this.#options
    return new Promise((resolve, reject) => {
      this.#socket.once('error', reject)
      this.#socket.bind({ address: host, port, exclusive: true }, () => {
        this.#socket.off('error', reject)
        this.#socket.on('error', (error) => log.error({ err: error }, 'UDP socket'))
        resolve(this.#socket.address().port)
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()))
  }

  #received(message: Buffer, from: RemoteInfo): void {
    const { accepts, counters, log } = this.#options
    const address = plainAddress(from.address)
    if (!accepts(address)) {
      counters.datagramsDropped++
      return
    }
    const peer: Peer = {
      ...{
        address,
        port: from.port,
        localAddress: undefined,
        transport: 'udp',
        complained: false,
        uses: new PeerUses(),
      },
      ...{ security: 'none', identity: undefined, client: address, mayStartTls: false },
    }
    const queue = new ReplyQueue(this.#pool, new DatagramSink(this.#socket, from, log), () => undefined)
    const call = new RpcCall(peer, queue, this.#credentials)
    call.args.reset(message, new DataView(message.buffer, message.byteOffset, message.length), 0, message.length)
    const done = () => {
      queue.flush()
      queue.close()
    }
    try {
      this.#dispatcher.begin()
      const result = this.#dispatcher.dispatch(call, this.#duplicates)
      if (result instanceof Promise) result.then(done)
      else done()
    } catch (error) {
      queue.close()
      if (!(error instanceof XdrError)) throw error
      counters.garbage++
      log.debug({ client: address, why: error.message }, 'ignored a datagram that is not RPC')
    }
  }
}

/** Sends each reply as a datagram. */
class DatagramSink implements ReplySink {
  readonly writableLength = 0
  readonly #socket: Socket
  readonly #to: RemoteInfo
  readonly #log: Logger

  constructor(socket: Socket, to: RemoteInfo, log: Logger) {
    this.#socket = socket
    this.#to = to
    this.#log = log
  }

  write(part: Uint8Array): boolean {
    // A copy, because the block is reused at once.
    this.#socket.send(Uint8Array.from(part.subarray(MARK_BYTES)), this.#to.port, this.#to.address, (error) => {
      if (error) this.#log.debug({ client: this.#to.address, why: error.message }, 'cannot send a reply')
    })
    return true
  }

  cork(): void {
    // Each reply is a datagram of its own.
  }

  uncork(): void {
    // Nothing is held back.
  }
}
