import { certificateOf } from '../rpc/call.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import type { ClientName, Nfs4Client } from './state/client.ts'
import { OPAQUE_LIMIT, VERIFIER_BYTES } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const UPD_CONFIRMED_REC_A = 0x4000_0000
const CONFIRMED_R = 0x8000_0000
const USE_NON_PNFS = 0x1_0000
/** All flags that a client may send. */
const VALID_FLAGS = 0x4007_0103

/** `state_protect_how4`. */
const SP4_NONE = 0
const SP4_MACH_CRED = 1
const SP4_SSV = 2
const MAX_BITMAP_WORDS = 8

/** EXCHANGE_ID: makes a client known. RFC 8881 section 18.35, whose cases are named below. */
export const exchangeId: Operation = {
  name: 'EXCHANGE_ID',
  sessionless: true,
  run(call) {
    const { args } = call
    const verifier = args.bytes.toString('latin1', args.take(VERIFIER_BYTES), args.pos)
    const owner = args.string(OPAQUE_LIMIT)
    const flags = args.u32()
    readStateProtection(call)
    readImplementation(call)
    if (flags & ~VALID_FLAGS || owner.length === 0) throw new Nfs4Error(STATUS.INVAL)
    const who: ClientName = { owner, verifier, ...callerOf(call), minor: call.minor }
    const client = flags & UPD_CONFIRMED_REC_A ? update(call, who) : findOrAdd(call, who)
    answer(call, client)
  },
}

/** Who creates clients: the user that the caller claims to be, or the owner of its certificate. */
export function principalOf({ rpc: { credential, peer } }: Nfs4Call): string {
  return peer.identity === undefined ? `${credential.flavor}:${credential.uid}` : peer.client
}

/** What is kept of the caller who makes a client known. @throws Nfs4Error ACCESS nothing is exported to it, so nothing is kept */
export function callerOf(call: Nfs4Call): { principal: string; certificate: string | undefined; address: string } {
  const { peer } = call.rpc
  if (!call.context.exports.isFor(peer.address)) throw new Nfs4Error(STATUS.ACCESS)
  return { principal: principalOf(call), certificate: certificateOf(peer), address: peer.address }
}

function findOrAdd(call: Nfs4Call, who: ClientName): Nfs4Client {
  const { clients, leases, now } = call.context
  const { confirmed } = clients.byOwner(who.owner)
  if (confirmed !== undefined) {
    // Cases 3 and 9: another user may take an owner over only if nothing is lost by it.
    if (confirmed.principal !== who.principal && confirmed.states.size > 0) throw new Nfs4Error(STATUS.CLID_INUSE)
    // Case 2: the client asks again.
    if (confirmed.principal === who.principal && confirmed.verifier === who.verifier) return confirmed
  }
  // Cases 1, 4 and 5: a new client, one that was not confirmed, or one that has restarted.
  const client = clients.add(who, now()) ?? (leases.makeRoom() ? clients.add(who, now()) : undefined)
  if (client === undefined) throw new Nfs4Error(STATUS.DELAY)
  return client
}

/** Cases 6 to 9: a confirmed client changes what it has said of itself. */
function update(call: Nfs4Call, who: ClientName): Nfs4Client {
  const { confirmed } = call.context.clients.byOwner(who.owner)
  if (confirmed === undefined) throw new Nfs4Error(STATUS.NOENT)
  if (confirmed.verifier !== who.verifier) throw new Nfs4Error(STATUS.NOT_SAME)
  if (confirmed.principal !== who.principal) throw new Nfs4Error(STATUS.PERM)
  return confirmed
}

/** @throws Nfs4Error protection by keys, which AUTH_SYS has none of */
function readStateProtection({ args }: Nfs4Call): void {
  const how = args.enumUpTo(SP4_SSV)
  if (how === SP4_NONE) return
  readBitmap(args)
  readBitmap(args)
  if (how === SP4_MACH_CRED) throw new Nfs4Error(STATUS.INVAL)
  throw new Nfs4Error(STATUS.ENCR_ALG_UNSUPP)
}

function readBitmap(args: Nfs4Call['args']): void {
  const count = args.u32()
  if (count > MAX_BITMAP_WORDS) throw new XdrError('a bitmap is too long')
  args.take(4 * count)
}

/** `eia_client_impl_id`, which is for people only. */
function readImplementation({ args }: Nfs4Call): void {
  const count = args.u32()
  if (count > 1) throw new XdrError('more than one implementation')
  if (count === 0) return
  args.takeOpaque(OPAQUE_LIMIT)
  args.takeOpaque(OPAQUE_LIMIT)
  args.take(12)
}

function answer(call: Nfs4Call, client: Nfs4Client): void {
  const { serverOwner } = call.context
  const out = call.need(128 + 2 * serverOwner.length)
  out.u64(client.idHi, client.idLo)
  out.u32(client.createSequence)
  out.u32((USE_NON_PNFS | (client.confirmed ? CONFIRMED_R : 0)) >>> 0)
  out.u32(SP4_NONE)
  // so_minor_id, so_major_id, eir_server_scope, no eir_server_impl_id
  out.u64(0, 0)
  out.opaque(serverOwner)
  out.opaque(serverOwner)
  out.u32(0)
}
