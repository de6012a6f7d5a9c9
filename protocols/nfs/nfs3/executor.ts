import {
  type Attr,
  after,
  type ChangeInfo,
  type Inode,
  type MaybePromise,
  OverlayError,
} from '../../../overlay-core/index.ts'
import { tellsOfLoss } from '../exports/write-verifier.ts'
import type { RpcProcedure } from '../rpc/program.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { encodePostOpAttr, encodeWccData } from './attributes.ts'
import { WCC_DATA_BYTES } from './constants.ts'
import { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Context } from './nfs3-context.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { listedStatus } from './procedure-statuses.ts'
import { NFS3ERR_SERVERFAULT, Nfs3Error, STATUS_OF_ERRNO } from './status.ts'

/** Converts an NFSv3 procedure to an RPC procedure. This is the only place that converts errors to statuses. */
export function executor(context: Nfs3Context, procedure: Nfs3Procedure): RpcProcedure {
  return {
    name: `NFSPROC3_${procedure.name}`,
    nonIdempotent: procedure.mutates,
    // A retransmitted WRITE writes the same data to the same range, and the client has written nothing else there in between.
    outlives: procedure.mutates && procedure.name !== 'WRITE',
    run: (rpc) => {
      const call = rpc.state instanceof Nfs3Call ? rpc.state : new Nfs3Call(context, rpc, procedure)
      rpc.state = call
      call.reset(procedure)
      const done = execute(call, procedure)
      return context.exports.hasMembers ? releasing(call, done) : done
    },
  }
}

function execute(call: Nfs3Call, procedure: Nfs3Procedure): MaybePromise<void> {
  try {
    const result = procedure.run(call)
    // Most replies promise nothing.
    if (result === undefined) return procedure.mutates || call.givesHandle ? complete(call) : undefined
    return result.then(
      () => complete(call),
      (error) => fail(call, error),
    )
  } catch (error) {
    return fail(call, error)
  }
}

/** Ends a call that has succeeded: what it promises is kept first. */
function complete(call: Nfs3Call): MaybePromise<void> {
  try {
    return kept(call)?.catch((error) => fail(call, error))
  } catch (error) {
    return fail(call, error)
  }
}

/** Ends the uses of views when the call is complete. */
function releasing(call: Nfs3Call, done: MaybePromise<void>): MaybePromise<void> {
  if (done === undefined) return call.release()
  return done.finally(() => call.release())
}

/** Waits until everything that the reply promises would survive a crash. Undefined if it already does. */
function kept(call: Nfs3Call): Promise<void> | undefined {
  const changes = call.procedure.mutates ? changesKept(call) : undefined
  const handles = call.givesHandle ? call.context.handleSaver.saved(call.served.overlay) : undefined
  return changes === undefined ? handles : handles === undefined ? changes : changes.then(() => handles)
}

/** On a `sync` export changes are durable before the reply (exports(5)); WRITE and COMMIT ensure this themselves. */
function changesKept(call: Nfs3Call): Promise<void> | undefined {
  const { procedure, object, object2, object3 } = call
  if (procedure.name === 'WRITE' || object === undefined || !call.grant.sync) return undefined
  const changed = [object]
  if (object2 !== undefined) changed.push(object2)
  if (object3 !== undefined) changed.push(object3)
  return call.overlay.commitChanges(changed)
}

/** Replies with the status of `error` and the failure data of the procedure. Rethrows errors that have no NFS status. */
function fail(call: Nfs3Call, error: unknown): MaybePromise<void> {
  if (!tellsOfLoss(error)) return answerFailure(call, error)
  call.context.log.error({ err: error, procedure: call.procedure.name }, 'unstable data may be lost')
  return call.context.verifier.change(error).then(() => answerFailure(call, error))
}

function answerFailure(call: Nfs3Call, error: unknown): MaybePromise<void> {
  const status = listedStatus(call.procedure.name, statusOf(error))
  const { context, rpc, procedure } = call
  const level = status === NFS3ERR_SERVERFAULT ? 'error' : 'debug'
  context.log[level]({ procedure: procedure.name, status, client: rpc.peer.address, why: messageOf(error) }, 'refused')
  return after(attrOf(call), (attr) =>
    after(completeWcc(call), () => encodeFailure(call, call.status(status, 2 * WCC_DATA_BYTES), attr)),
  )
}

function statusOf(error: unknown): number {
  if (error instanceof Nfs3Error) return error.status
  if (error instanceof OverlayError) return STATUS_OF_ERRNO[error.code]
  throw error
}

function messageOf(error: unknown): unknown {
  return error instanceof Error ? error.message : error
}

/** The attributes for `post_op_attr`; undefined if the object is unknown or they are unavailable. */
function attrOf(call: Nfs3Call): MaybePromise<Attr | undefined> {
  const { object, procedure } = call
  if (object === undefined || !procedure.failure.startsWith('post_op_attr')) return undefined
  return attrIfPossible(call, object)
}

/** Adds the attributes of unchanged objects to the reply; otherwise the client would request them next. */
function completeWcc(call: Nfs3Call): MaybePromise<void> {
  const { failure } = call.procedure
  if (failure === 'void' || failure === 'post_op_attr') return
  const first = failure === 'post_op_attr, wcc_data' ? call.object2 : call.object
  return after(wccAfter(call, first, call.wcc), (wcc) => {
    call.wcc = wcc
    if (failure !== 'two wcc_data') return
    return after(wccAfter(call, call.object2, call.wcc2), (wcc2) => {
      call.wcc2 = wcc2
    })
  })
}

/** Without attributes from before, which would claim that nobody else changed the object in between. */
function wccAfter(
  call: Nfs3Call,
  object: Inode | undefined,
  wcc: ChangeInfo | undefined,
): MaybePromise<ChangeInfo | undefined> {
  if (object === undefined || wcc?.after !== undefined) return wcc
  return after(attrIfPossible(call, object), (attr) => (attr === undefined ? undefined : { after: attr }))
}

function attrIfPossible(call: Nfs3Call, object: Inode): MaybePromise<Attr | undefined> {
  const nothing = (error: unknown): undefined => {
    call.context.log.debug({ why: messageOf(error) }, 'cannot get attributes for the reply')
  }
  try {
    const attr = call.overlay.getattr(object)
    return attr instanceof Promise ? attr.catch(nothing) : attr
  } catch (error) {
    return nothing(error)
  }
}

/** Writes what follows the status. */
function encodeFailure(call: Nfs3Call, out: Encoder, attr: Attr | undefined): void {
  const { failure } = call.procedure
  if (failure === 'post_op_attr' || failure === 'post_op_attr, wcc_data') encodePostOpAttr(out, attr, call.served)
  if (failure === 'wcc_data' || failure === 'post_op_attr, wcc_data' || failure === 'two wcc_data') {
    encodeWccData(out, call.wcc, call.served)
  }
  if (failure === 'two wcc_data') encodeWccData(out, call.wcc2, call.served)
}
