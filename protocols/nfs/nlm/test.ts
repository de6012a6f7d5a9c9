import type { RpcCall } from '../rpc/call.ts'
import { NLM4_DENIED, NLM4_DENIED_GRACE_PERIOD, NLM4_FBIG, NLM4_GRANTED } from './constants.ts'
import { locate } from './locate.ts'
import { decodeLock, decodeNetobj, lockOf } from './messages.ts'
import type { NlmContext } from './nlm-context.ts'
import type { Answer } from './procedure.ts'

/** NLMPROC4_TEST and _TEST_MSG: tests whether a lock could be granted, and if not, who holds it. */
export async function test(context: NlmContext, call: RpcCall): Promise<Answer> {
  const { args } = call
  const cookie = decodeNetobj(args)
  const exclusive = args.bool()
  const wire = decodeLock(args)

  const host = context.hosts.of(call.peer, wire.callerName)
  if (context.grace.active) return { cookie, status: NLM4_DENIED_GRACE_PERIOD, host }
  const { file, status } = await locate(context, call, wire.handle)
  if (status !== NLM4_GRANTED) return { cookie, status, host }
  const lock = lockOf(wire, host.key, exclusive)
  if (lock === undefined) return { cookie, status: NLM4_FBIG, host }
  const holder = context.locks.test(file, lock)
  return { cookie, status: holder === undefined ? NLM4_GRANTED : NLM4_DENIED, host, holder }
}
