import { certificateOf } from '../rpc/call.ts'
import { readCallbackSecurity } from './create-session.ts'
import type { Operation } from './operation.ts'
import { SESSION_ID_BYTES } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** `channel_dir_from_client4`: fore, back, either with a preference. */
const LAST_DIRECTION = 7
const FORE = 1

/** DESTROY_SESSION: ends a session; the client and what it holds stay. RFC 8881 section 18.37. */
export const destroySession: Operation = {
  name: 'DESTROY_SESSION',
  sessionless: true,
  run(call) {
    const { args, context } = call
    const session = context.clients.session(args.view, args.take(SESSION_ID_BYTES))
    if (session === undefined || session.client.certificate !== certificateOf(call.rpc.peer)) {
      throw new Nfs4Error(STATUS.BADSESSION)
    }
    // In a COMPOUND of the same session it must be the last operation.
    if (call.session === session && call.index !== call.count) throw new Nfs4Error(STATUS.NOT_ONLY_OP)
    if (session.slots.some((slot) => slot.busy && slot !== call.slot)) throw new Nfs4Error(STATUS.DELAY)
    context.clients.dropSession(session)
  },
}

/** DESTROY_CLIENTID: ends a client without sessions and state. RFC 8881 section 18.50. */
export const destroyClientId: Operation = {
  name: 'DESTROY_CLIENTID',
  sessionless: true,
  run(call) {
    const { args, context } = call
    const client = context.clients.byId(args.u32(), args.u32())
    if (client === undefined || client.certificate !== certificateOf(call.rpc.peer)) {
      throw new Nfs4Error(STATUS.STALE_CLIENTID)
    }
    if (client.sessions.size > 0 || client.states.size > 0) throw new Nfs4Error(STATUS.CLIENTID_BUSY)
    context.reclaims.forget(client)
    context.clients.drop(client)
  },
}

/** BIND_CONN_TO_SESSION: uses this connection for a session. RFC 8881 section 18.34. Requests may come by every connection, callbacks by none. */
export const bindConnToSession: Operation = {
  name: 'BIND_CONN_TO_SESSION',
  sessionless: true,
  run(call) {
    const { args, context, out } = call
    const at = args.take(SESSION_ID_BYTES)
    args.enumUpTo(LAST_DIRECTION)
    args.bool() // RDMA
    if (context.clients.session(args.view, at) === undefined) throw new Nfs4Error(STATUS.BADSESSION)
    out.fixedOpaque(args.bytes.subarray(at, at + SESSION_ID_BYTES))
    out.u32(FORE)
    out.bool(false)
  },
}

/** BACKCHANNEL_CTL: how callbacks are to be sent from now on. RFC 8881 section 18.33. */
export const backchannelCtl: Operation = {
  name: 'BACKCHANNEL_CTL',
  run({ args }) {
    args.u32()
    readCallbackSecurity(args)
  },
}

/** RECLAIM_COMPLETE: the client has reclaimed all that it held before a restart of the server. RFC 8881 section 18.51. */
export const reclaimComplete: Operation = {
  name: 'RECLAIM_COMPLETE',
  run(call) {
    const oneFileSystem = call.args.bool()
    // After a move to this server, which there is none of: nothing to do.
    if (oneFileSystem) {
      call.object()
      return
    }
    if (call.client!.reclaimComplete) throw new Nfs4Error(STATUS.COMPLETE_ALREADY)
    return call.context.reclaims.completed(call.client!)
  },
}
