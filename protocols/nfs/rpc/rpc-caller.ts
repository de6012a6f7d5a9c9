import { createSocket } from 'node:dgram'
import { createConnection, isIPv6 } from 'node:net'
import { Decoder } from '../xdr/decoder.ts'
import { Encoder } from '../xdr/encoder.ts'
import { AUTH_NONE, CALL, LAST_FRAGMENT, MSG_ACCEPTED, REPLY, RPC_VERSION, SUCCESS } from './constants.ts'

/** The destination of an outgoing call. */
export interface Destination {
  readonly address: string
  readonly port: number
  readonly transport: 'tcp' | 'udp'
}

/** The procedure to call. */
export interface Callee {
  readonly program: number
  readonly version: number
  readonly procedure: number
}

const MARK_BYTES = 4
const HEADER_BYTES = 40
/** Maximum size of a reply; the calls made here have short ones. */
const MAX_REPLY_BYTES = 64 * 1024
const TIMEOUT_MS = 5000
/** A datagram may be lost. */
const RESEND_MS = 1000

/** Makes single outgoing RPC calls without a credential: to a portmapper, to grant a lock, to notify of a restart. */
export class RpcCaller {
  #xid: number

  /** `firstXid` should differ in every run, because a peer may remember xids of the last one. */
  constructor(firstXid: number) {
    this.#xid = firstXid
  }

  /**
   * Makes a call with the arguments that `encode` writes into at most 4 KiB; resolves with the results.
   *
   * @throws Error the host is unreachable, does not reply within five seconds, or refuses
   */
  async call(to: Destination, what: Callee, encode: (out: Encoder) => void = () => undefined): Promise<Decoder> {
    this.#xid = (this.#xid + 1) >>> 0
    const xid = this.#xid
    const out = new Encoder(Buffer.alloc(MARK_BYTES + HEADER_BYTES + 4096))
    out.u32(0)
    for (const word of [xid, CALL, RPC_VERSION, what.program, what.version, what.procedure]) out.u32(word)
    for (const word of [AUTH_NONE, 0, AUTH_NONE, 0]) out.u32(word)
    encode(out)
    out.view.setUint32(0, LAST_FRAGMENT + out.pos - MARK_BYTES)
    const message = out.bytes.subarray(0, out.pos)
    const reply =
      to.transport === 'tcp' ? await overTcp(to, message) : await overUdp(to, message.subarray(MARK_BYTES), xid)
    return results(reply, xid)
  }
}

function overTcp({ address, port }: Destination, record: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0)
    const socket = createConnection({ host: address, port })
    const timer = setTimeout(() => socket.destroy(new Error(`${address}:${port} does not answer`)), TIMEOUT_MS)
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      reject(new Error(`${address}:${port} closed the connection`))
    })
    socket.on('data', (data: Buffer) => {
      received = Buffer.concat([received, data])
      const length = received.length < MARK_BYTES ? 0 : received.readUInt32BE(0) - LAST_FRAGMENT
      if (length < 0 || length > MAX_REPLY_BYTES) socket.destroy(new Error('not an RPC reply'))
      else if (length > 0 && received.length >= MARK_BYTES + length) {
        resolve(received.subarray(MARK_BYTES, MARK_BYTES + length))
        socket.destroy()
      }
    })
    socket.write(record)
  })
}

function overUdp({ address, port }: Destination, message: Buffer, xid: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
    const send = () => socket.send(message, port, address, (error) => error && fail(error))
    const resend = setInterval(send, RESEND_MS)
    const timer = setTimeout(() => fail(new Error(`${address}:${port} does not answer`)), TIMEOUT_MS)
    const stop = () => {
      clearInterval(resend)
      clearTimeout(timer)
      socket.removeAllListeners().close()
    }
    const fail = (error: Error) => {
      stop()
      reject(error)
    }
    socket.on('error', fail)
    socket.on('message', (reply, from) => {
      // Anybody can send to this port; only a reply from the destination counts.
      if (from.port !== port || reply.length < 4 || reply.readUInt32BE(0) !== xid) return
      stop()
      resolve(reply)
    })
    send()
  })
}

function results(message: Buffer, xid: number): Decoder {
  const reply = new Decoder(message)
  if (reply.u32() !== xid || reply.u32() !== REPLY) throw new Error('the reply belongs to another call')
  if (reply.u32() !== MSG_ACCEPTED) throw new Error('the call was denied')
  reply.u32()
  reply.opaque(400)
  const status = reply.u32()
  if (status !== SUCCESS) throw new Error(`the call was rejected with accept_stat ${status}`)
  return reply
}
