import { after, type MaybePromise } from '../../../overlay-core/index.ts'
import { destinationOf } from '../portmap/port-of.ts'
import type { RpcCall } from '../rpc/call.ts'
import type { RpcProcedure, RpcProgram } from '../rpc/program.ts'
import type { RpcCaller } from '../rpc/rpc-caller.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { CallBacks } from './call-backs.ts'
import { cancel } from './cancel.ts'
import {
  MAXNETOBJ_SZ,
  NLM_PROGRAM,
  NLM_V4,
  NLMPROC4_CANCEL_RES,
  NLMPROC4_LOCK_RES,
  NLMPROC4_TEST_RES,
  NLMPROC4_UNLOCK_RES,
} from './constants.ts'
import { freeAll } from './free-all.ts'
import { lock, nmLock } from './lock.ts'
import { decodeNetobj, encodeResult, encodeTestResult } from './messages.ts'
import type { NlmContext } from './nlm-context.ts'
import type { Answer } from './procedure.ts'
import { share, unshare } from './share.ts'
import { test } from './test.ts'
import { unlock } from './unlock.ts'

type Operation = (context: NlmContext, call: RpcCall) => MaybePromise<Answer>
type Encode = (out: Encoder, answer: Answer) => void

const ANSWER_BYTES = 2 * (MAXNETOBJ_SZ + 4) + 64

const encodeStatus: Encode = (out, { cookie, status }) => encodeResult(out, cookie, status)
const encodeTest: Encode = (out, { cookie, status, holder }) => encodeTestResult(out, cookie, status, holder)
const encodeShare: Encode = (out, answer) => {
  encodeStatus(out, answer)
  out.u32(0) // the sequence, which means nothing (XNFS)
}

/**
 * The network lock manager, version 4. Procedures have two forms: those that return their result in the reply, and the _MSG form, whose result is a call of the _RES
 * procedure on the client. GRANTED and other server-to-client procedures get PROC_UNAVAIL.
 */
export function nlmProgram(context: NlmContext, caller: RpcCaller, portmapPort?: number): RpcProgram {
  const procedures: RpcProcedure[] = []
  const add = (number: number, name: string, run: (call: RpcCall) => MaybePromise<void>) => {
    procedures[number] = { name: `NLMPROC4_${name}`, nonIdempotent: false, run }
  }
  const replying = (operation: Operation, encode: Encode) => (call: RpcCall) =>
    after(operation(context, call), (answer) => encode(call.begin(ANSWER_BYTES), answer))
  const answers = new CallBacks()
  const calling = (operation: Operation, encode: Encode, procedure: number) => (call: RpcCall) =>
    after(operation(context, call), (answer) => {
      call.begin(0)
      // Do not call clients that may mount nothing: each call needs a socket for as long as the other side likes.
      if (!context.exports.exports.some((served) => served.ruleForLocks(call.peer) !== undefined)) return
      answers.run(call.peer.address, () => answerByCall({ context, caller, portmapPort }, answer, procedure, encode))
    })
  add(0, 'NULL', (call) => {
    call.begin(0)
  })
  add(1, 'TEST', replying(test, encodeTest))
  add(
    2,
    'LOCK',
    replying((context, call) => lock(context, call, false), encodeStatus),
  )
  add(3, 'CANCEL', replying(cancel, encodeStatus))
  add(4, 'UNLOCK', replying(unlock, encodeStatus))
  add(6, 'TEST_MSG', calling(test, encodeTest, NLMPROC4_TEST_RES))
  add(
    7,
    'LOCK_MSG',
    calling((context, call) => lock(context, call, true), encodeStatus, NLMPROC4_LOCK_RES),
  )
  add(8, 'CANCEL_MSG', calling(cancel, encodeStatus, NLMPROC4_CANCEL_RES))
  add(9, 'UNLOCK_MSG', calling(unlock, encodeStatus, NLMPROC4_UNLOCK_RES))
  add(15, 'GRANTED_RES', (call) => {
    const cookie = decodeNetobj(call.args)
    context.grants.answered(call.peer.address, cookie, call.args.u32())
    call.begin(0)
  })
  add(20, 'SHARE', replying(share, encodeShare))
  add(21, 'UNSHARE', replying(unshare, encodeShare))
  add(22, 'NM_LOCK', replying(nmLock, encodeStatus))
  add(23, 'FREE_ALL', (call) => freeAll(context, call))
  return { number: NLM_PROGRAM, version: NLM_V4, procedures }
}

interface Means {
  readonly context: NlmContext
  readonly caller: RpcCaller
  readonly portmapPort: number | undefined
}

/** Sends a result to the client by a call; an unreachable client retransmits its request. */
function answerByCall(
  { context, caller, portmapPort }: Means,
  answer: Answer,
  procedure: number,
  encode: Encode,
): Promise<void> {
  const { host } = answer
  const where = { address: host.address, program: NLM_PROGRAM, version: NLM_V4, transport: host.transport }
  const what = { program: NLM_PROGRAM, version: NLM_V4, procedure }
  return destinationOf(caller, where, portmapPort)
    .then((to) => caller.call(to, what, (out) => encode(out, answer)))
    .then(() => undefined)
    .catch((error) => context.log.debug({ err: error, client: host.address }, 'cannot send a lock manager reply'))
}
