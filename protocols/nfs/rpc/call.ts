import { hash } from 'node:crypto'
import { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import { type AuthFlavor, flavorOf } from './auth-flavors.ts'
import {
  AUTH_BADCRED,
  AUTH_ERROR,
  AUTH_NONE,
  CALL,
  MAX_AUTH_BYTES,
  MSG_ACCEPTED,
  MSG_DENIED,
  REPLY,
  RPC_MISMATCH,
  RPC_VERSION,
  SUCCESS,
} from './constants.ts'
import type { Credential, CredentialCache } from './credential.ts'
import type { Interruption } from './interruption.ts'
import { PeerUses } from './peer-uses.ts'
import type { VersionRange } from './program.ts'
import type { ReplyBuffer, ReplyQueue } from './reply-queue.ts'
import type { ClientIdentity, TransportSecurity } from './start-tls.ts'

/** Every reply has space for this many bytes of results, so that an error can always replace a partial reply. */
const MIN_RESULT_BYTES = 512
const REPLY_HEADER_BYTES = 24
/** A call up to and including the length of its credential. */
const CALL_HEADER_BYTES = 32
const MARK_BYTES = 4

/** The other end of a connection. */
export interface Peer {
  /** IP address; IPv4 addresses in dotted form even on a dual-stack socket. */
  readonly address: string
  readonly port: number
  /** The server address that it called; undefined if unknown. */
  readonly localAddress: string | undefined
  readonly transport: 'tcp' | 'udp'
  readonly security: TransportSecurity
  /** Whom its certificate is for; set if `security` is `mtls`. */
  readonly identity: ClientIdentity | undefined
  /** Identifies the client for its locks and for the replies to its retransmissions: its certificate's owner, or its address. */
  readonly client: string
  /** Whether it may ask for TLS. */
  readonly mayStartTls: boolean
  /** Whether a warning about this connection has been logged. */
  complained: boolean
  /** Who used which views, for administrators. */
  readonly uses: PeerUses
}

const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** Normalizes an address: an IPv4 address is in dotted form even if it came through a dual-stack socket. */
export function plainAddress(address: string): string {
  return MAPPED_IPV4.exec(address)?.[1] ?? address
}

/** The same client after its handshake. */
export function securedPeer(peer: Peer, identity: ClientIdentity | undefined): Peer {
  const security = identity === undefined ? 'tls' : 'mtls'
  const client = identity === undefined ? peer.address : clientOf(identity)
  return { ...peer, security, identity, client, mayStartTls: false, uses: new PeerUses() }
}

/** The certificate that the caller has shown, by a name of fixed length; undefined for none. */
export function certificateOf({ identity, client }: Peer): string | undefined {
  return identity === undefined ? undefined : client
}

/** A name of fixed length, which no address has. */
function clientOf({ kind, name }: ClientIdentity): string {
  return `cert:${hash('sha256', `${kind}/${name}`, 'hex').slice(0, 32)}`
}

/** State that a program keeps with an `RpcCall` between uses. Each program that needs this has its own class. */
export abstract class CallState {
  readonly rpc: RpcCall

  constructor(rpc: RpcCall) {
    this.rpc = rpc
  }
}

/**
 * An RPC call in progress: the header of the message, the arguments, and the reply being written. The object is reused
 * for the next call of the connection if this one was answered at once.
 */
export class RpcCall {
  readonly peer: Peer
  /** The arguments. They stay readable until the call is answered. */
  readonly args = new Decoder()
  xid = 0
  /** Bytes of the whole message. */
  messageBytes = 0
  program = 0
  version = 0
  procedure = 0
  credential: Credential
  /** The flavor that answers this call itself; undefined: its program does. */
  answeredBy: AuthFlavor | undefined
  /** The body of the verifier of replies; undefined: they have an empty one. */
  verifier: Uint8Array | undefined
  /** Whether the client begins TLS after the reply to this call. */
  asksForTls = false
  /** Set if an earlier process died while it ran this call. */
  interruption: Interruption | undefined
  /** State that the last program keeps for its next call. */
  state: CallState | undefined = undefined
  readonly #queue: ReplyQueue
  readonly #credentials: CredentialCache
  #reply: ReplyBuffer | undefined

  constructor(peer: Peer, queue: ReplyQueue, credentials: CredentialCache) {
    this.peer = peer
    this.#queue = queue
    this.#credentials = credentials
    this.credential = credentials.none
  }

  /**
   * Reads the header of the message in `args`. Returns false if it was refused and the reply is written: another RPC
   * version, or a credential that is malformed or of an unknown flavor.
   *
   * @throws XdrError it is not an RPC call
   */
  readHeader(): boolean {
    const { args } = this
    this.#reply = undefined
    this.interruption = undefined
    this.answeredBy = undefined
    this.verifier = undefined
    this.asksForTls = false
    const { view } = args
    this.messageBytes = args.remaining
    const at = args.take(CALL_HEADER_BYTES)
    this.xid = view.getUint32(at)
    if (view.getUint32(at + 4) !== CALL) throw new XdrError('not a call')
    if (view.getUint32(at + 8) !== RPC_VERSION) {
      this.#denyVersion()
      return false
    }
    this.program = view.getUint32(at + 12)
    this.version = view.getUint32(at + 16)
    this.procedure = view.getUint32(at + 20)
    const failure = this.#readAuth(view.getUint32(at + 24), view.getUint32(at + 28))
    if (failure !== 0) this.denyAuth(failure)
    return failure === 0
  }

  /**
   * Opens the reply with at most `maxBytes` of results, and returns the encoder for them. A second call discards what was
   * written and starts over with at least the first `maxBytes` or 512 bytes.
   */
  begin(maxBytes: number): Encoder {
    return this.beginAccepted(SUCCESS, maxBytes)
  }

  /** Like `begin`, for a reply with another `accept_stat`. */
  beginAccepted(status: number, maxBytes = 0): Encoder {
    const { verifier } = this
    if (verifier !== undefined) return this.#beginVerified(verifier, status, maxBytes)
    const out = this.#open(maxBytes)
    const at = out.reserve(REPLY_HEADER_BYTES)
    const { view } = out
    view.setUint32(at, this.xid)
    view.setUint32(at + 4, REPLY)
    view.setUint32(at + 8, MSG_ACCEPTED)
    view.setUint32(at + 12, AUTH_NONE)
    view.setUint32(at + 16, 0)
    view.setUint32(at + 20, status)
    return out
  }

  /** Writes the reply to a program in a version that is not served. */
  refuseVersion(status: number, versions: VersionRange): void {
    const out = this.beginAccepted(status)
    out.u32(versions.low)
    out.u32(versions.high)
  }

  /** Writes the reply that refuses the credential, `why` being an `auth_stat`. */
  denyAuth(why: number): void {
    const out = this.#open(0)
    out.u32(this.xid)
    out.u32(REPLY)
    out.u32(MSG_DENIED)
    out.u32(AUTH_ERROR)
    out.u32(why)
  }

  /** Replies with the bytes of an earlier reply to the same call. */
  replay(reply: Uint8Array): void {
    const out = this.#open(reply.length)
    out.fixedOpaque(reply)
  }

  /** Whether memory for large replies is short, so that replies should be shorter if possible. */
  get crowded(): boolean {
    return this.#queue.crowded
  }

  /** Whether a reply was begun. */
  get answered(): boolean {
    return this.#reply !== undefined
  }

  /** The bytes of the reply so far, without the record mark; valid until `finish`. */
  replyBytes(): Uint8Array {
    const { out, start } = this.#reply!
    return out.bytes.subarray(start + MARK_BYTES, out.pos)
  }

  /**
   * Makes room for `maxBytes` more in the reply that was begun, and returns its encoder, which is another one if it had to move. Offsets that the caller knows
   * move by the difference of the two positions.
   */
  enlarge(maxBytes: number): Encoder {
    const old = this.#reply!
    if (old.out.room >= maxBytes) return old.out
    const written = old.out.bytes.subarray(old.start + MARK_BYTES, old.out.pos)
    const larger = this.#queue.begin(written.length + maxBytes)
    larger.out.bytes.set(written, larger.out.reserve(written.length))
    this.#queue.cancel(old)
    this.#reply = larger
    return larger.out
  }

  /** Queues the reply for sending. */
  finish(): void {
    this.#queue.commit(this.#reply!)
    this.#reply = undefined
  }

  #open(maxBytes: number): Encoder {
    if (this.#reply === undefined) {
      this.#reply = this.#queue.begin(REPLY_HEADER_BYTES + (maxBytes > MIN_RESULT_BYTES ? maxBytes : MIN_RESULT_BYTES))
    } else {
      this.#queue.rewind(this.#reply)
    }
    return this.#reply.out
  }

  /** The verifiers of all flavors so far are AUTH_NONE by number. */
  #beginVerified(verifier: Uint8Array, status: number, maxBytes: number): Encoder {
    const out = this.#open(maxBytes + verifier.length + 3)
    out.u32(this.xid)
    out.u32(REPLY)
    out.u32(MSG_ACCEPTED)
    out.u32(AUTH_NONE)
    out.opaque(verifier)
    out.u32(status)
    return out
  }

  #denyVersion(): void {
    const out = this.#open(0)
    out.u32(this.xid)
    out.u32(REPLY)
    out.u32(MSG_DENIED)
    out.u32(RPC_MISMATCH)
    out.u32(RPC_VERSION)
    out.u32(RPC_VERSION)
  }

  /** Reads the body of the credential, of `length` bytes, and the verifier; returns an `auth_stat`, 0 if they are valid. */
  #readAuth(number: number, length: number): number {
    const flavor = flavorOf(number)
    if (flavor === undefined || length > MAX_AUTH_BYTES) return AUTH_BADCRED
    const start = this.args.take((length + 3) & ~3)
    return flavor.accept(this, start, start + length, this.#credentials)
  }
}
