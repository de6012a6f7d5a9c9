import type { X509Certificate } from 'node:crypto'
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { createServer, type SecureContextOptions, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import type { TlsClientPolicy } from '../../config/index.ts'
import { fineClock } from '../clock.ts'
import { networkOf } from '../network-of.ts'
import type { TlsCredentials } from './credentials.ts'
import { HandshakeTurns } from './handshake-turns.ts'

/** How long a handshake may take, from accepting the connection to its end. */
const HANDSHAKE_MS = 10_000
/** How long a client that does not speak TLS may take to read why it is refused. */
const AFTER_ANSWER_MS = 1_000
/** The first byte of a TLS handshake record (RFC 8446 section 5.1). */
const HANDSHAKE_RECORD = 22
/**
 * How many secrets a connection may have in a minute: five for its handshake, and two for each KeyUpdate (RFC 8446 section 4.6.3). Each of those costs a client 27 bytes and the server a hundred times as
 * much as other bytes; a client needs one for hundreds of gigabytes.
 */
const SECRETS_A_MINUTE = 64
const MINUTE_MS = 60_000
/** What a client that exceeds this has cost, in ms: Node computes 64 KiB of its messages before anything can stop it. */
const KEY_FLOOD_MS = 250
/** Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else. */
const CIPHERS_OF_TLS_1_2 = [
  ...['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ...['ECDHE-RSA-CHACHA20-POLY1305', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
]
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  ...CIPHERS_OF_TLS_1_2,
]

/** Counters of the TLS of one listener. */
export interface TlsCounters {
  /** Handshakes that succeeded. */
  secured: number
  /** Handshakes that failed or took too long. */
  handshakesFailed: number
  /** Client certificates that were refused: of another authority, expired, revoked or missing. */
  certificatesRefused: number
  /** Connections closed because their certificate was revoked, or is no longer valid. */
  certificatesEnded: number
  /** Connections that did not begin with a handshake. */
  clearText: number
  /** Connections closed because they changed their keys all the time. */
  keyFloods: number
}

export function newTlsCounters(): TlsCounters {
  return { secured: 0, handshakesFailed: 0, certificatesRefused: 0, certificatesEnded: 0, clearText: 0, keyFloods: 0 }
}

/** The parts of TLS that differ between listeners. */
export interface HandshakeOptions {
  readonly credentials: TlsCredentials
  readonly clients: TlsClientPolicy
  /** The protocol that is negotiated (ALPN). */
  readonly protocol: string
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  readonly log: Pick<Logger, 'debug' | 'info'>
  readonly wallNow: () => number
  readonly counters: TlsCounters
  readonly handshakeMs?: number
  /** What to send to a client that begins without a handshake. */
  readonly answerToClearText?: string
}

/** A connection whose handshake has succeeded. */
export interface Secured {
  readonly socket: TLSSocket
  /** The client's certificate, if it has one; it is valid. */
  readonly certificate: X509Certificate | undefined
}

interface Certified {
  readonly certificate: X509Certificate
  readonly validToMs: number
  /** Whether an authority itself has issued it, and not one below. */
  readonly direct: boolean
}

/** The secrets that a connection has had since then. */
interface Secrets {
  sinceMs: number
  count: number
}

interface Pending {
  readonly raw: Socket
  readonly timer: NodeJS.Timeout
  readonly done: (secured: Secured) => void
}

/**
 * Turns accepted connections into encrypted ones. Computing one handshake takes up to a millisecond or several, so one of them begins in each turn of the event loop, when its
 * first bytes are there, and each address has a part of the time: a crowd of connections does not delay others. Who opens connections bounds their number.
 */
export class Handshakes {
  readonly counters: TlsCounters
  readonly #options: HandshakeOptions
  readonly #server: Server
  #credentials: TlsCredentials
  /** Handshakes that have begun, by the addresses of the connection. */
  readonly #begun = new Map<string, Pending>()
  /** Connections whose first bytes have arrived. */
  readonly #waiting = new HandshakeTurns<Pending>(fineClock)
  #scheduled = false
  /** Set while all that wait have used their part of the time. */
  #later: NodeJS.Timeout | undefined
  readonly #secrets = new WeakMap<TLSSocket, Secrets>()
  /** Open connections with a client certificate. */
  readonly #certified = new Map<TLSSocket, Certified>()

  constructor(options: HandshakeOptions) {
    const { credentials, clients, protocol, counters } = options
    this.#options = options
    this.counters = counters
    this.#credentials = credentials
    const asks = credentials.authorities.length > 0
    const tls: TlsOptions = {
      ...this.#context(credentials),
      requestCert: asks,
      rejectUnauthorized: asks && clients === 'require',
      ALPNProtocols: [protocol],
      handshakeTimeout: options.handshakeMs ?? HANDSHAKE_MS,
    }
    this.#server = createServer(tls)
    this.#server.on('secureConnection', (socket) => this.#succeeded(socket))
    this.#server.on('tlsClientError', (error, socket) => this.#failed(error, socket))
    // Nothing else tells of a KeyUpdate. What the secrets are is not looked at.
    this.#server.on('keylog', (_, socket) => this.#hasNewSecret(socket))
  }

  /** Uses other credentials for new connections, and closes those whose certificate is not valid any more. Whether clients are asked for a certificate stays the same. */
  use(credentials: TlsCredentials): void {
    this.#server.setSecureContext(this.#context(credentials))
    this.#credentials = credentials
    for (const [socket, { certificate, direct }] of this.#certified) {
      const why =
        this.#whyInvalid(certificate) ?? (direct && !this.#isDirect(certificate) ? 'of another authority' : undefined)
      if (why !== undefined) this.#end(socket, certificate, why)
    }
  }

  /** Closes the connections whose certificate is out of date. Call it now and then. */
  endExpired(): void {
    const nowMs = this.#options.wallNow()
    for (const [socket, { certificate, validToMs }] of this.#certified)
      if (validToMs <= nowMs) this.#end(socket, certificate, 'expired')
  }

  /** Begins the handshake of a connection on which nothing has been read. `done` is called if it succeeds; otherwise the connection is closed. */
  begin(raw: Socket, done: Pending['done']): void {
    const pending = this.#pending(raw, done)
    raw.on('error', (error) => this.#options.log.debug({ why: error.message }, 'connection lost'))
    raw.once('readable', () => this.#arrived(pending))
  }

  /** Like `begin`, for a connection whose next bytes have been read and which is not being read. */
  beginWith(raw: Socket, first: Buffer, done: Pending['done']): void {
    // Otherwise what is put back would flow on.
    raw.pause()
    this.#continue(this.#pending(raw, done), first)
  }

  /** Ends what does not end by itself. */
  close(): void {
    for (const { raw } of [...this.#begun.values(), ...this.#waiting.all()]) raw.destroy()
  }

  #context({ cert, key, authorities }: TlsCredentials): SecureContextOptions {
    return {
      cert,
      key,
      ...(authorities.length > 0 && { ca: authorities.map((authority) => authority.toString()) }),
      minVersion: this.#options.minVersion,
      ciphers: CIPHERS.join(':'),
      secureOptions:
        constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION | constants.SSL_OP_CIPHER_SERVER_PREFERENCE,
    }
  }

  #pending(raw: Socket, done: Pending['done']): Pending {
    const timer = setTimeout(() => {
      this.counters.handshakesFailed++
      raw.destroy()
    }, this.#options.handshakeMs ?? HANDSHAKE_MS)
    raw.once('close', () => clearTimeout(timer))
    return { raw, timer, done }
  }

  #arrived(pending: Pending): void {
    const { raw } = pending
    const first: Buffer | null = raw.read()
    if (first === null) return void raw.destroy()
    this.#continue(pending, first)
  }

  #continue(pending: Pending, first: Buffer): void {
    if (first[0] !== HANDSHAKE_RECORD) {
      clearTimeout(pending.timer)
      this.#refuseClearText(pending.raw)
      return
    }
    pending.raw.unshift(first)
    this.#waiting.add(networkOf(pending.raw.remoteAddress ?? ''), pending)
    this.#schedule()
  }

  #refuseClearText(raw: Socket): void {
    this.counters.clearText++
    const { answerToClearText } = this.#options
    if (answerToClearText === undefined) return void raw.destroy()
    raw.end(answerToClearText)
    // Its request is read to the end, or the answer would be lost; but not for long.
    raw.on('readable', () => raw.read())
    const late = setTimeout(() => raw.destroy(), AFTER_ANSWER_MS)
    raw.once('close', () => clearTimeout(late))
  }

  #schedule(): void {
    clearTimeout(this.#later)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#startNext()
    })
  }

  #startNext(): void {
    const next = this.#waiting.next()
    if (next === undefined) return
    if ('waitMs' in next) {
      this.#later = setTimeout(() => this.#startNext(), Math.ceil(next.waitMs)).unref()
      return
    }
    const begunMs = fineClock()
    if (!next.item.raw.destroyed) this.#start(next.item)
    // Node computes it in the ticks before this one.
    process.nextTick(() => this.#waiting.used(next.address, fineClock() - begunMs))
    this.#schedule()
  }

  #start(pending: Pending): void {
    const { raw } = pending
    const key = addressesOf(raw)
    if (key === undefined) return void raw.destroy()
    this.#begun.set(key, pending)
    raw.once('close', () => this.#begun.delete(key))
    this.#server.emit('connection', raw)
  }

  #succeeded(socket: TLSSocket): void {
    const key = addressesOf(socket)
    const pending = key === undefined ? undefined : this.#begun.get(key)
    if (key === undefined || pending === undefined) return void socket.destroy()
    this.#begun.delete(key)
    clearTimeout(pending.timer)
    const certificate = socket.getPeerX509Certificate()
    const why =
      certificate && (socket.authorizationError ? String(socket.authorizationError) : this.#whyInvalid(certificate))
    if (why !== undefined) {
      this.counters.certificatesRefused++
      this.#options.log.info(
        { client: socket.remoteAddress, serial: certificate?.serialNumber, why },
        'refused a client certificate',
      )
      return void socket.destroy()
    }
    this.counters.secured++
    if (certificate !== undefined) {
      this.#certified.set(socket, {
        certificate,
        validToMs: certificate.validToDate.getTime(),
        direct: this.#isDirect(certificate),
      })
      socket.once('close', () => this.#certified.delete(socket))
    }
    pending.done({ socket, certificate })
  }

  #hasNewSecret(socket: TLSSocket): void {
    const nowMs = fineClock()
    const secrets = this.#secrets.get(socket)
    if (secrets === undefined || nowMs - secrets.sinceMs > MINUTE_MS)
      return void this.#secrets.set(socket, { sinceMs: nowMs, count: 1 })
    if (++secrets.count !== SECRETS_A_MINUTE) return
    this.counters.keyFloods++
    this.#waiting.used(networkOf(socket.remoteAddress ?? ''), KEY_FLOOD_MS)
    this.#options.log.debug({ client: socket.remoteAddress }, 'closed a connection that changed its keys all the time')
    socket.destroy()
  }

  #failed(error: Error, socket: TLSSocket): void {
    if (socket.authorizationError) this.counters.certificatesRefused++
    else this.counters.handshakesFailed++
    this.#options.log.debug({ client: socket.remoteAddress, why: error.message }, 'the TLS handshake failed')
    socket.destroy()
  }

  #end(socket: TLSSocket, { serialNumber }: X509Certificate, why: string): void {
    this.counters.certificatesEnded++
    this.#options.log.info(
      { client: socket.remoteAddress, serial: serialNumber, why },
      'closed a connection whose certificate is no longer valid',
    )
    this.#certified.delete(socket)
    socket.destroy()
  }

  /** Why a certificate does not count; undefined if it does. Its signatures have been checked when it was shown. */
  #whyInvalid(certificate: X509Certificate): string | undefined {
    if (this.#credentials.revocations.has(certificate)) return 'revoked'
    if (certificate.validToDate.getTime() <= this.#options.wallNow()) return 'expired'
    return certificate.ca ? 'the certificate of an authority' : undefined
  }

  #isDirect(certificate: X509Certificate): boolean {
    return this.#credentials.authorities.some((authority) => certificate.checkIssued(authority))
  }
}

/** Both ends of a connection, which no two open connections share; undefined if it is gone. */
function addressesOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string | undefined {
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}
