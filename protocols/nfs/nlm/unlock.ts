import type { RpcCall } from '../rpc/call.ts'
import { NLM4_FBIG, NLM4_GRANTED } from './constants.ts'
import { locateAnyway } from './locate.ts'
import { decodeLock, decodeNetobj, lockOf } from './messages.ts'
import type { NlmContext } from './nlm-context.ts'
import type { Answer } from './procedure.ts'

/** NLMPROC4_UNLOCK and _UNLOCK_MSG: releases a range. Succeeds also in the grace period, and if nothing was locked. */
export function unlock(context: NlmContext, call: RpcCall): Answer {
  const { args } = call
  const cookie = decodeNetobj(args)
  const wire = decodeLock(args)

  const host = context.hosts.of(call.peer, wire.callerName)
  const { file, status } = locateAnyway(context, wire.handle)
  if (status !== NLM4_GRANTED) return { cookie, status, host }
  const lock = lockOf(wire, host.key, true)
  if (lock === undefined) return { cookie, status: NLM4_FBIG, host }
  context.grants.known(file, lock)
  context.locks.unlock(file, lock.owner, lock)
  return { cookie, status: NLM4_GRANTED, host }
}
