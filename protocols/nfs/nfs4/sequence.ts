import { certificateOf } from '../rpc/call.ts'
import { writeSessionId } from './create-session.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import type { Session, Slot } from './state/session.ts'
import { SESSION_ID_BYTES } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** SEQUENCE: gives a COMPOUND its place in a slot of a session, so that it is executed once (RFC 8881 sections 18.46 and 2.10.6). */
export const sequence: Operation = {
  name: 'SEQUENCE',
  run(call) {
    const { args, context } = call
    const session = context.clients.session(args.view, args.take(SESSION_ID_BYTES))
    const seqid = args.u32()
    const slotNumber = args.u32()
    args.u32() // sa_highest_slotid
    const cacheThis = args.bool()
    if (call.index !== 1) throw new Nfs4Error(STATUS.SEQUENCE_POS)
    // Who has shown a certificate is nobody without it, and nobody else is that client.
    if (session === undefined || session.client.certificate !== certificateOf(call.rpc.peer)) {
      throw new Nfs4Error(STATUS.BADSESSION)
    }
    const slot = session.slot(slotNumber)
    if (slot === undefined) throw new Nfs4Error(STATUS.BADSLOT)
    if (seqid === slot.sequence) return retry(call, slot)
    if (seqid !== (slot.sequence + 1) >>> 0) throw new Nfs4Error(STATUS.SEQ_MISORDERED)
    if (slot.busy) throw new Nfs4Error(STATUS.SEQ_MISORDERED)
    checkLimits(call, session)
    begin(call, session, slot, cacheThis)
    slot.sequence = seqid
    answer(call, session, seqid, slotNumber)
  },
}

/** @throws Nfs4Error TOO_MANY_OPS · REQ_TOO_BIG: the slot does not change */
function checkLimits({ count, rpc }: Nfs4Call, { fore }: Session): void {
  if (count > fore.maxOperations) throw new Nfs4Error(STATUS.TOO_MANY_OPS)
  if (rpc.messageBytes > fore.maxRequestBytes) throw new Nfs4Error(STATUS.REQ_TOO_BIG)
}

function begin(call: Nfs4Call, session: Session, slot: Slot, cacheThis: boolean): void {
  call.session = session
  call.slot = slot
  call.client = session.client
  // A SEQUENCE alone is kept whatever the client says, because that costs next to nothing.
  call.cacheThis = cacheThis || call.count === 1
  call.mostReplyBytes = cacheThis ? session.fore.maxCachedBytes : session.fore.maxReplyBytes
  session.client.renewedMs = call.context.now()
  call.argumentsAt = call.args.pos
  call.context.reruns.next(slot)
  slot.busy = true
  slot.reply = undefined
  slot.requestBytes = call.args.end - call.args.pos
  slot.uid = call.rpc.credential.uid
}

/** The client sends a request again, because it has not seen the reply. */
function retry(call: Nfs4Call, slot: Slot): void {
  // It has not sent all of that request yet, or the connection was another one: it asks again.
  if (slot.busy) throw new Nfs4Error(STATUS.DELAY)
  const { args, rpc } = call
  if (slot.requestBytes !== args.end - args.pos || slot.uid !== rpc.credential.uid) {
    throw new Nfs4Error(STATUS.SEQ_FALSE_RETRY)
  }
  if (slot.reply === undefined) throw new Nfs4Error(STATUS.RETRY_UNCACHED_REP)
  call.replayed = slot.reply
}

function answer(call: Nfs4Call, session: Session, seqid: number, slotNumber: number): void {
  const { out } = call
  const highest = session.fore.maxRequests - 1
  writeSessionId(out, session)
  out.u32(seqid)
  out.u32(slotNumber)
  out.u32(highest)
  out.u32(highest)
  out.u32(0)
}
