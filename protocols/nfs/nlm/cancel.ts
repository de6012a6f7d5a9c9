import type { RpcCall } from '../rpc/call.ts'
import { NLM4_FBIG, NLM4_GRANTED } from './constants.ts'
import { locateAnyway } from './locate.ts'
import { decodeLock, decodeNetobj, lockOf } from './messages.ts'
import type { NlmContext } from './nlm-context.ts'
import type { Answer } from './procedure.ts'

/** NLMPROC4_CANCEL and _CANCEL_MSG: stops waiting for a lock. A lock that was just granted is released again. */
export function cancel(context: NlmContext, call: RpcCall): Answer {
  const { args } = call
  const cookie = decodeNetobj(args)
  args.bool() // block
  const exclusive = args.bool()
  const wire = decodeLock(args)

  const host = context.hosts.of(call.peer, wire.callerName)
  const { file, status } = locateAnyway(context, wire.handle)
  if (status !== NLM4_GRANTED) return { cookie, status, host }
  const lock = lockOf(wire, host.key, exclusive)
  if (lock === undefined) return { cookie, status: NLM4_FBIG, host }
  if (!context.locks.cancel(file, lock)) context.grants.cancel(file, lock)
  return { cookie, status: NLM4_GRANTED, host }
}
