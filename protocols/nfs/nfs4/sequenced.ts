import { certificateOf } from '../rpc/call.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Nfs4Client } from './state/client.ts'
import type { LockState, OpenState, State } from './state/open-state.ts'
import type { OwnerSequence } from './state/owner-sequence.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** Errors after which the number of an owner stays (RFC 7530 section 9.1.7): the request could not be attributed to it, or not be read. */
const UNCOUNTED: ReadonlySet<number> = new Set([
  ...[STATUS.STALE_CLIENTID, STATUS.STALE_STATEID, STATUS.BAD_STATEID, STATUS.BAD_SEQID, STATUS.BADXDR],
  ...[STATUS.RESOURCE, STATUS.NOFILEHANDLE, STATUS.MOVED, STATUS.DELAY],
])

/** The client of the arguments in 4.0, of the session later. @throws Nfs4Error STALE_CLIENTID */
export function clientNamed(call: Nfs4Call, hi: number, lo: number): Nfs4Client {
  if (call.minor > 0) return call.client!
  const { clients, now } = call.context
  const certificate = certificateOf(call.rpc.peer)
  const client = clients.byId(hi, lo)
  if (client === undefined || client.minor > 0 || !client.confirmed || client.certificate !== certificate) {
    throw new Nfs4Error(STATUS.STALE_CLIENTID)
  }
  client.renewedMs = now()
  return client
}

/**
 * Gives a request its place in the order of its owner; nothing to do after 4.0. True if it is the last one again: then its reply is written, and nothing is to be done.
 *
 * @throws Nfs4Error BAD_SEQID · DELAY the last one is being executed
 */
export function isAgain(call: Nfs4Call, sequence: OwnerSequence, seqid: number, free = false): boolean {
  if (call.minor > 0) return false
  if (sequence.busy) throw new Nfs4Error(STATUS.DELAY)
  if (sequence.last === seqid && sequence.reply !== undefined) {
    const { out } = call
    out.pos = call.statusAt
    out.fixedOpaque(sequence.reply)
    call.status = out.view.getUint32(call.statusAt)
    return true
  }
  if (!free && sequence.last !== undefined && seqid !== (sequence.last + 1) >>> 0) throw new Nfs4Error(STATUS.BAD_SEQID)
  sequence.busy = true
  call.sequence = sequence
  call.sequenceNumber = seqid
  return false
}

/** As `isAgain`, by `call.stateid`, whatever its version. A stateid that was closed last leads to its owner, too. */
export function isStateAgain(call: Nfs4Call, seqid: number): boolean {
  if (call.minor > 0) return false
  const { states } = call.context
  const { serial, boot, client } = call.stateid
  const state = states.find(serial)
  const owned =
    state !== undefined &&
    boot === state.client.idHi &&
    client === state.client.idLo &&
    state.client.certificate === certificateOf(call.rpc.peer)
  const sequence = owned ? sequenceOf(state) : states.closedBy(serial)
  return sequence !== undefined && isAgain(call, sequence, seqid)
}

function sequenceOf(state: State): OwnerSequence {
  return state.kind === 'open' ? (state as OpenState).owner.sequence : (state as LockState).sequence
}

/** Ends a request that `isAgain` has begun: its reply is kept. */
export function endSequenced(call: Nfs4Call): void {
  const { sequence, out, statusAt } = call
  if (sequence === undefined) return
  call.sequence = undefined
  sequence.busy = false
  if (UNCOUNTED.has(call.status)) return
  sequence.last = call.sequenceNumber
  sequence.reply = Uint8Array.from(out.bytes.subarray(statusAt, out.pos))
}
