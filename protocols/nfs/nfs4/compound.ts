import { type MaybePromise, OverlayError } from '../../../overlay-core/index.ts'
import { tellsOfLoss } from '../exports/write-verifier.ts'
import type { RpcCall } from '../rpc/call.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import { Nfs4Call } from './nfs4-call.ts'
import type { Nfs4Context } from './nfs4-context.ts'
import { type Operation, RESULT_BYTES } from './operation.ts'
import { listedStatus } from './operation-statuses.ts'
import { OPERATIONS } from './operations.ts'
import { endSequenced } from './sequenced.ts'
import { Bitmap } from './wire/bitmap.ts'
import { FIRST_OF_MINOR, LAST_MINOR, LAST_OPERATION, OP } from './wire/constants.ts'
import { Nfs4Error, STATUS, STATUS_OF_ERRNO } from './wire/status.ts'

const MAX_TAG_BYTES = 1024
/** More operations than any session allows; with fewer bytes than this each they cannot be right. */
const MOST_OPERATIONS = 128
const RPC_HEADER_BYTES = 24

/** Runs a COMPOUND (RFC 8881 section 16.2): one operation after the other, until one fails. This is the only place that converts errors to statuses. */
export function compound(context: Nfs4Context, rpc: RpcCall): MaybePromise<void> {
  const call = rpc.state instanceof Nfs4Call ? rpc.state : new Nfs4Call(context, rpc)
  rpc.state = call
  call.reset()
  begin(call)
  const done = call.status === STATUS.OK ? runAll(call) : undefined
  return done === undefined ? end(call) : done.then(() => end(call))
}

/** Reads the head of the arguments and begins the reply. @throws XdrError */
function begin(call: Nfs4Call): void {
  const { args, rpc } = call
  const tagAt = args.pos + 4
  const tagBytes = args.takeOpaque(MAX_TAG_BYTES)
  call.minor = args.u32()
  call.count = args.u32()
  call.out = rpc.begin(RESULT_BYTES + tagBytes)
  const { out } = call
  call.startAt = out.pos - RPC_HEADER_BYTES
  out.u32(STATUS.OK)
  out.u32(tagBytes)
  const at = out.reserve((tagBytes + 3) & ~3)
  out.bytes.set(args.bytes.subarray(tagAt, tagAt + tagBytes), at)
  for (let i = at + tagBytes; i < out.pos; i++) out.bytes[i] = 0
  call.countAt = out.pos
  out.u32(0)
  if (call.minor > LAST_MINOR) call.status = STATUS.MINOR_VERS_MISMATCH
  else if (call.count > MOST_OPERATIONS) call.status = STATUS.RESOURCE
}

/** Undefined if all operations have ended. */
function runAll(call: Nfs4Call): Promise<void> | undefined {
  while (call.status === STATUS.OK && call.index < call.count && call.replayed === undefined) {
    const step = runOne(call)
    if (step !== undefined) return step.then(() => runAll(call))
  }
  return undefined
}

/** Completes the reply, and keeps it if the client wants that. */
function end(call: Nfs4Call): MaybePromise<void> {
  const { rpc, replayed } = call
  if (replayed !== undefined) {
    const out = rpc.begin(replayed.length)
    out.fixedOpaque(replayed)
    call.release()
    return
  }
  const { view } = call.out
  view.setUint32(call.startAt + RPC_HEADER_BYTES, call.status)
  view.setUint32(call.countAt, call.index)
  if (call.slot !== undefined) keepReply(call)
  const overlay = call.givesHandlesOf
  const saving = overlay && call.context.handleSaver.saved(overlay)
  if (saving === undefined) call.release()
  else return saving.then(() => call.release())
}

function keepReply({ context, slot, cacheThis, out, startAt }: Nfs4Call): void {
  slot!.busy = false
  context.reruns.ended(slot!)
  slot!.reply = cacheThis ? Uint8Array.from(out.bytes.subarray(startAt + RPC_HEADER_BYTES, out.pos)) : undefined
}

/** Undefined if the operation has ended. */
function runOne(call: Nfs4Call): Promise<void> | undefined {
  call.index++
  let number: number
  let operation: Operation | undefined
  try {
    call.makeRoom(RESULT_BYTES)
    number = call.args.remaining < 4 ? OP.ILLEGAL : call.args.u32()
    const legal = isLegal(number, call.minor)
    operation = legal ? OPERATIONS[number] : undefined
    const { out } = call
    out.u32(legal ? number : OP.ILLEGAL)
    call.statusAt = out.pos
    out.u32(STATUS.OK)
    checkPlace(call, operation, legal)
    const result = operation!.run(call)
    if (result !== undefined) {
      return result.then(
        () => finish(call, operation!),
        (error) => fail(call, operation, error),
      )
    }
  } catch (error) {
    return fail(call, operation, error)
  }
  return finish(call, operation!)
}

function isLegal(number: number, minor: number): boolean {
  const beyond = minor < LAST_MINOR ? FIRST_OF_MINOR[minor + 1]! : LAST_OPERATION + 1
  return number >= OP.ACCESS && number < beyond
}

/** @throws Nfs4Error the operation may not be at this place of the COMPOUND */
function checkPlace(call: Nfs4Call, operation: Operation | undefined, legal: boolean): void {
  if (!legal) throw new Nfs4Error(STATUS.OP_ILLEGAL)
  if (call.minor > 0 && call.session === undefined) {
    const isSequence = operation?.name === 'SEQUENCE'
    if (!isSequence && !operation?.sessionless) throw new Nfs4Error(STATUS.OP_NOT_IN_SESSION)
    if (!isSequence && call.count > 1) throw new Nfs4Error(STATUS.NOT_ONLY_OP)
  }
  if (operation === undefined || (operation.until !== undefined && call.minor > operation.until))
    throw new Nfs4Error(STATUS.NOTSUPP)
}

/** After an operation has succeeded: what it promises is made durable. */
function finish(call: Nfs4Call, operation: Operation): Promise<void> | undefined {
  if (call.out.pos - call.startAt > call.mostReplyBytes) return fail(call, operation, call.tooBig())
  const { changedIn, changed } = call
  if (changedIn === undefined) {
    endSequenced(call)
    return undefined
  }
  call.changedIn = undefined
  try {
    const kept = changedIn.commitChanges(changed.splice(0))
    if (kept === undefined) endSequenced(call)
    return kept?.then(
      () => endSequenced(call),
      (error) => fail(call, operation, error),
    )
  } catch (error) {
    return fail(call, operation, error)
  }
}

/** Replaces the results of an operation by the status of `error`. Rethrows errors that have none. */
function fail(call: Nfs4Call, operation: Operation | undefined, error: unknown): Promise<void> | undefined {
  call.changedIn = undefined
  call.changed.length = 0
  if (!tellsOfLoss(error)) {
    answerFailure(call, operation, error)
    return undefined
  }
  call.context.log.error({ err: error, operation: operation?.name }, 'unstable data may be lost')
  return call.context.verifier.change(error).then(() => answerFailure(call, operation, error))
}

const NONE = new Bitmap()

function answerFailure(call: Nfs4Call, operation: Operation | undefined, error: unknown): void {
  const { out, context, rpc } = call
  const status = operation === undefined ? statusOf(call, error) : listedStatus(operation.name, statusOf(call, error))
  const level = status === STATUS.SERVERFAULT ? 'error' : 'debug'
  context.log[level]({ operation: operation?.name, status, client: rpc.peer.address, why: messageOf(error) }, 'refused')
  call.status = status
  out.pos = call.statusAt
  out.u32(status)
  if (operation?.name === 'SETATTR') NONE.write(out)
  if (error instanceof Nfs4Error) error.body?.(out)
  endSequenced(call)
}

function statusOf(call: Nfs4Call, error: unknown): number {
  if (error instanceof Nfs4Error) return error.status
  if (error instanceof OverlayError) return STATUS_OF_ERRNO[error.code]
  if (error instanceof XdrError) return STATUS.BADXDR
  call.context.log.error({ err: error, client: call.rpc.peer.address }, 'an operation of a COMPOUND failed')
  return STATUS.SERVERFAULT
}

function messageOf(error: unknown): unknown {
  return error instanceof Error ? error.message : error
}
