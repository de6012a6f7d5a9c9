import type { Lock } from '../locks/file-locks.ts'
import type { RpcCall } from '../rpc/call.ts'
import {
  NLM4_BLOCKED,
  NLM4_DEADLCK,
  NLM4_DENIED,
  NLM4_DENIED_GRACE_PERIOD,
  NLM4_DENIED_NOLOCKS,
  NLM4_FBIG,
  NLM4_GRANTED,
} from './constants.ts'
import type { NlmHost } from './hosts.ts'
import { isMonitored } from './is-monitored.ts'
import { locate } from './locate.ts'
import { decodeLock, decodeNetobj, lockOf, type NlmLock } from './messages.ts'
import type { NlmContext } from './nlm-context.ts'
import type { Answer } from './procedure.ts'

/** A LOCK that passed all checks. */
interface Attempt {
  readonly file: string
  readonly lock: Lock
  readonly wire: NlmLock
  readonly host: NlmHost
  readonly block: boolean
  readonly message: boolean
}

/** NLMPROC4_LOCK and _LOCK_MSG: takes a lock, and waits for it if the client requests that. */
export async function lock(context: NlmContext, call: RpcCall, message: boolean): Promise<Answer> {
  return await take(context, call, { monitored: true, message })
}

/** NLMPROC4_NM_LOCK: like LOCK, for a client without a status monitor; its locks end with this server. */
export async function nmLock(context: NlmContext, call: RpcCall): Promise<Answer> {
  return await take(context, call, { monitored: false, message: false })
}

async function take(
  context: NlmContext,
  call: RpcCall,
  { monitored, message }: { monitored: boolean; message: boolean },
): Promise<Answer> {
  const { args } = call
  const cookie = decodeNetobj(args)
  const block = args.bool()
  const exclusive = args.bool()
  const wire = decodeLock(args)
  const reclaim = args.bool()
  const state = args.u32()

  const host = context.hosts.of(call.peer, wire.callerName)
  host.state = state
  const answer = (status: number): Answer => ({ cookie, status, host })
  // In the grace period locks can only be reclaimed, and after it none can be, because others may have held them since.
  if (context.grace.active !== reclaim) return answer(NLM4_DENIED_GRACE_PERIOD)
  const { file, status } = await locate(context, call, wire.handle)
  if (status !== NLM4_GRANTED) return answer(status)
  const lock = lockOf(wire, host.key, exclusive)
  if (lock === undefined) return answer(NLM4_FBIG)
  // Before the lock, because the client must be able to reclaim every lock it believes to hold after a crash.
  const known = monitored ? await isMonitored(context, host) : context.hosts.keep(host)
  if (!known) return answer(NLM4_DENIED_NOLOCKS)
  return answer(attempt(context, { file, lock, wire, host, block, message }))
}

function attempt(context: NlmContext, { file, lock, wire, host, block, message }: Attempt): number {
  const { locks, grants } = context
  // The client retransmits a request that was granted without its knowledge.
  grants.known(file, lock)
  const result = locks.lock(file, lock)
  if (result.kind === 'granted') {
    locks.cancel(file, lock)
    return NLM4_GRANTED
  }
  if (result.kind === 'full') return NLM4_DENIED_NOLOCKS
  if (!block) return NLM4_DENIED
  if (locks.isWaiting(file, lock)) return NLM4_BLOCKED
  const outcome = locks.wait(file, lock, () => grants.begin({ file, lock, wire, host, message }))
  if (outcome === 'full') return NLM4_DENIED_NOLOCKS
  return outcome === 'waits' ? NLM4_BLOCKED : NLM4_DEADLCK
}
