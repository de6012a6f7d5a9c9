import type { RpcCall } from '../rpc/call.ts'
import { LM_MAXSTRLEN, NLM4_DENIED, NLM4_DENIED_GRACE_PERIOD, NLM4_DENIED_NOLOCKS, NLM4_GRANTED } from './constants.ts'
import { isMonitored } from './is-monitored.ts'
import { locate, locateAnyway } from './locate.ts'
import { decodeHandle, decodeNetobj } from './messages.ts'
import type { NlmContext } from './nlm-context.ts'
import type { Answer } from './procedure.ts'

/** `fsh4_mode` and `fsh4_access` range from 0 (none) to 3 (read and write), so they are bits. */
const MAX_SHARE = 3

const STATUS = { granted: NLM4_GRANTED, denied: NLM4_DENIED, full: NLM4_DENIED_NOLOCKS } as const

/** Reads `nlm4_shareargs`. */
function decodeShare(call: RpcCall, context: NlmContext) {
  const { args } = call
  const cookie = decodeNetobj(args)
  const name = args.string(LM_MAXSTRLEN)
  const { handle } = decodeHandle(args)
  const oh = decodeNetobj(args)
  const deny = args.enumUpTo(MAX_SHARE)
  const access = args.enumUpTo(MAX_SHARE)
  const reclaim = args.bool()
  const host = context.hosts.of(call.peer, name)
  return { cookie, handle, host, owner: `${host.key} ${oh.toString('latin1')}`, deny, access, reclaim }
}

/** NLMPROC4_SHARE: opens a file as DOS does, denying others the given access. */
export async function share(context: NlmContext, call: RpcCall): Promise<Answer> {
  const { cookie, handle, host, owner, deny, access, reclaim } = decodeShare(call, context)
  if (context.grace.active !== reclaim) return { cookie, status: NLM4_DENIED_GRACE_PERIOD, host }
  const { file, status } = await locate(context, call, handle)
  if (status !== NLM4_GRANTED) return { cookie, status, host }
  if (!(await isMonitored(context, host))) return { cookie, status: NLM4_DENIED_NOLOCKS, host }
  const granted = context.shares.reserve(file, { owner, client: host.key, access, deny })
  return { cookie, status: STATUS[granted], host }
}

/** NLMPROC4_UNSHARE: releases the reservation. */
export function unshare(context: NlmContext, call: RpcCall): Answer {
  const { cookie, handle, host, owner } = decodeShare(call, context)
  const { file, status } = locateAnyway(context, handle)
  if (status === NLM4_GRANTED) context.shares.release(file, owner)
  return { cookie, status, host }
}
