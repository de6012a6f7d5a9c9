import type { Encoder } from '../xdr/encoder.ts'
import { callerOf, principalOf } from './exchange-id.ts'
import type { Operation } from './operation.ts'
import { clientNamed } from './sequenced.ts'
import { OPAQUE_LIMIT, VERIFIER_BYTES } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** Names of clients of 4.0 are others than those of later versions. */
const OF_40 = '4.0 '

/** SETCLIENTID: makes a client of 4.0 known. RFC 7530 section 16.33. Its address for callbacks is not used. */
export const setclientid: Operation = {
  name: 'SETCLIENTID',
  until: 0,
  run(call) {
    const { args, context, out } = call
    const verifier = args.bytes.toString('latin1', args.take(VERIFIER_BYTES), args.pos)
    const owner = OF_40 + args.string(OPAQUE_LIMIT)
    args.u32() // cb_program
    args.takeOpaque(OPAQUE_LIMIT)
    args.takeOpaque(OPAQUE_LIMIT)
    args.u32() // callback_ident
    const { clients, leases, now, random } = context
    const { confirmed } = clients.byOwner(owner)
    const { principal } = callerOf(call)
    if (confirmed !== undefined && confirmed.principal !== principal && confirmed.states.size > 0) {
      throw new Nfs4Error(STATUS.CLID_INUSE, encodeNoAddress)
    }
    const who = { owner, verifier, ...callerOf(call), minor: 0 }
    const same = confirmed?.verifier === verifier && confirmed.principal === principal ? confirmed : undefined
    const client = same ?? clients.add(who, now()) ?? (leases.makeRoom() ? clients.add(who, now()) : undefined)
    if (client === undefined) throw new Nfs4Error(STATUS.RESOURCE)
    client.confirmVerifier = Buffer.from(random(VERIFIER_BYTES)).toString('latin1')
    out.u64(client.idHi, client.idLo)
    out.fixedOpaque(Buffer.from(client.confirmVerifier, 'latin1'))
  },
}

/** The address of the client that uses the name, which is nobody's business. */
function encodeNoAddress(out: Encoder): void {
  out.string('tcp')
  out.string('0.0.0.0.0.0')
}

/** SETCLIENTID_CONFIRM: a client of 4.0 has got its id. RFC 7530 section 16.34. */
export const setclientidConfirm: Operation = {
  name: 'SETCLIENTID_CONFIRM',
  until: 0,
  async run(call) {
    const { args, context } = call
    const client = context.clients.byId(args.u32(), args.u32())
    const verifier = args.bytes.toString('latin1', args.take(VERIFIER_BYTES), args.pos)
    if (client === undefined || client.minor > 0 || client.confirmVerifier !== verifier) {
      throw new Nfs4Error(STATUS.STALE_CLIENTID)
    }
    if (client.principal !== principalOf(call)) throw new Nfs4Error(STATUS.CLID_INUSE)
    context.clients.confirm(client)
    client.renewedMs = context.now()
    await context.reclaims.record(client)
  },
}

/** RENEW: keeps a client of 4.0. RFC 7530 section 16.28. */
export const renew: Operation = {
  name: 'RENEW',
  until: 0,
  run(call) {
    clientNamed(call, call.args.u32(), call.args.u32())
  },
}
