import { certificateOf } from '../rpc/call.ts'
import type { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import { principalOf } from './exchange-id.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import type { Nfs4Client } from './state/client.ts'
import type { ChannelLimits, Session } from './state/session.ts'
import { MAX_TRANSFER_BYTES, OPAQUE_LIMIT, SESSION_ID_BYTES } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const PERSIST = 1
const CONN_BACK_CHAN = 2
const CONN_RDMA = 4
const VALID_FLAGS = PERSIST | CONN_BACK_CHAN | CONN_RDMA

const AUTH_NONE = 0
const AUTH_SYS = 1
const RPCSEC_GSS = 6
const MAX_CALLBACK_FLAVORS = 8
const MAX_GROUPS = 16

/** What this server takes and gives at most. A reply and a request have this much beside their data. */
const HEAD_BYTES = 2048
const MOST: ChannelLimits = {
  maxRequestBytes: MAX_TRANSFER_BYTES + HEAD_BYTES,
  maxReplyBytes: MAX_TRANSFER_BYTES + HEAD_BYTES,
  maxCachedBytes: 2048,
  maxOperations: 64,
  maxRequests: 64,
}
/** Less than this is of no use to anybody: a SEQUENCE, its reply, and one more operation. */
const LEAST_BYTES = 128

/** CREATE_SESSION: makes a session, and confirms a new client. RFC 8881 section 18.36. */
export const createSession: Operation = {
  name: 'CREATE_SESSION',
  sessionless: true,
  run(call) {
    const { args, context } = call
    const { clients } = context
    const client = clients.byId(args.u32(), args.u32())
    const sequence = args.u32()
    const flags = args.u32()
    const fore = readChannel(args)
    const back = readChannel(args)
    const callbackProgram = args.u32()
    readCallbackSecurity(args)
    if (client === undefined || client.certificate !== certificateOf(call.rpc.peer)) {
      throw new Nfs4Error(STATUS.STALE_CLIENTID)
    }
    const again = (client.createSequence - 1) >>> 0
    if (sequence === again && client.createReply !== undefined) return replay(call, client.createReply)
    if (sequence !== client.createSequence) throw new Nfs4Error(STATUS.SEQ_MISORDERED)
    if (!client.confirmed && client.principal !== principalOf(call)) throw new Nfs4Error(STATUS.CLID_INUSE)
    if (flags & ~VALID_FLAGS) throw new Nfs4Error(STATUS.INVAL)
    if (Math.min(fore.maxRequestBytes, fore.maxReplyBytes) < LEAST_BYTES) throw new Nfs4Error(STATUS.TOOSMALL)
    if (fore.maxOperations === 0 || fore.maxRequests === 0) throw new Nfs4Error(STATUS.INVAL)
    const channels = { fore: lesser(fore), back: lesser(back), callbackProgram }
    const session = clients.addSession(client, channels)
    if (session === undefined) throw new Nfs4Error(STATUS.DELAY)
    clients.confirm(client)
    client.renewedMs = context.now()
    client.createSequence = (client.createSequence + 1) >>> 0
    const from = call.out.pos
    answer(call, session, sequence)
    client.createReply = Uint8Array.from(call.out.bytes.subarray(from, call.out.pos))
    context.log.debug({ client: client.key, owner: printable(client) }, 'session')
  },
}

function printable({ owner }: Nfs4Client): string {
  return owner.replace(/[^ -~]/g, '?').slice(0, 100)
}

function replay(call: Nfs4Call, reply: Uint8Array): void {
  call.need(reply.length).fixedOpaque(reply)
}

function answer(call: Nfs4Call, session: Session, sequence: number): void {
  const { out } = call
  writeSessionId(out, session)
  out.u32(sequence)
  out.u32(0)
  writeChannel(out, session.fore)
  writeChannel(out, session.back)
}

/** The id of a session: that of its client, a random number, and its serial number. */
export function writeSessionId(out: Encoder, { client, random, serial }: Session): void {
  const at = out.reserve(SESSION_ID_BYTES)
  const { view } = out
  view.setUint32(at, client.idHi)
  view.setUint32(at + 4, client.idLo)
  view.setUint32(at + 8, random)
  view.setUint32(at + 12, serial)
}

function lesser(asked: ChannelLimits): ChannelLimits {
  return {
    maxRequestBytes: Math.min(asked.maxRequestBytes, MOST.maxRequestBytes),
    maxReplyBytes: Math.min(asked.maxReplyBytes, MOST.maxReplyBytes),
    maxCachedBytes: Math.min(asked.maxCachedBytes, MOST.maxCachedBytes),
    maxOperations: Math.min(asked.maxOperations, MOST.maxOperations),
    maxRequests: Math.min(asked.maxRequests, MOST.maxRequests),
  }
}

/** Reads `channel_attrs4`. */
function readChannel(args: Decoder): ChannelLimits {
  args.u32() // ca_headerpadsize
  const maxRequestBytes = args.u32()
  const maxReplyBytes = args.u32()
  const maxCachedBytes = args.u32()
  const maxOperations = args.u32()
  const maxRequests = args.u32()
  if (args.u32() > 1) throw new XdrError('more than one ca_rdma_ird')
  else if (args.view.getUint32(args.pos - 4) === 1) args.u32()
  return { maxRequestBytes, maxReplyBytes, maxCachedBytes, maxOperations, maxRequests }
}

function writeChannel(out: Encoder, channel: ChannelLimits): void {
  out.u32(0)
  out.u32(channel.maxRequestBytes)
  out.u32(channel.maxReplyBytes)
  out.u32(channel.maxCachedBytes)
  out.u32(channel.maxOperations)
  out.u32(channel.maxRequests)
  out.u32(0)
}

/** Reads `callback_sec_parms4<>`. */
export function readCallbackSecurity(args: Decoder): void {
  const count = args.u32()
  if (count > MAX_CALLBACK_FLAVORS) throw new XdrError(`${count} flavors for callbacks`)
  for (let i = 0; i < count; i++) {
    const flavor = args.u32()
    if (flavor === AUTH_SYS) readAuthSys(args)
    else if (flavor === RPCSEC_GSS) {
      args.u32()
      args.takeOpaque(OPAQUE_LIMIT)
      args.takeOpaque(OPAQUE_LIMIT)
    } else if (flavor !== AUTH_NONE) throw new XdrError(`flavor ${flavor} for callbacks`)
  }
}

function readAuthSys(args: Decoder): void {
  args.u32()
  args.takeOpaque(OPAQUE_LIMIT)
  args.take(8)
  const groups = args.u32()
  if (groups > MAX_GROUPS) throw new XdrError(`${groups} groups for callbacks`)
  args.take(4 * groups)
}
