import { XdrError } from '../xdr/xdr-error.ts'
import { stateOf } from './find-state.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import type { LockState } from './state/open-state.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const MOST_STATEIDS = 16 * 1024

/** TEST_STATEID: which of these stateids are good. RFC 8881 section 18.48: STALE_STATEID is no answer. */
export const testStateid: Operation = {
  name: 'TEST_STATEID',
  run(call) {
    const { args, stateid } = call
    const count = args.u32()
    if (count > MOST_STATEIDS || args.remaining < 16 * count) throw new XdrError(`${count} stateids`)
    const out = call.need(4 + 4 * count)
    out.u32(count)
    for (let i = 0; i < count; i++) {
      stateid.read(args)
      out.u32(statusOf(call))
    }
  },
}

function statusOf(call: Nfs4Call): number {
  const { stateid } = call
  const state = stateid.special === undefined ? stateOf(call, stateid) : undefined
  if (state === undefined) return STATUS.BAD_STATEID
  if (state.revoked) return STATUS.ADMIN_REVOKED
  if (stateid.seqid === 0 || stateid.seqid === state.seqid) return STATUS.OK
  return (state.seqid - stateid.seqid) >>> 0 < 0x8000_0000 ? STATUS.OLD_STATEID : STATUS.BAD_STATEID
}

/** FREE_STATEID: lets go of an owner's locks in a file, of which none are left. RFC 8881 section 18.38. */
export const freeStateid: Operation = {
  name: 'FREE_STATEID',
  run(call) {
    const { stateid, context } = call
    stateid.read(call.args)
    if (stateid.special === 'current') stateid.set(call.currentStateid)
    const state = stateid.special === undefined ? stateOf(call, stateid) : undefined
    if (state === undefined) throw new Nfs4Error(STATUS.BAD_STATEID)
    if (stateid.seqid !== 0 && stateid.seqid !== state.seqid) throw new Nfs4Error(STATUS.OLD_STATEID)
    if (state.kind !== 'lock') throw new Nfs4Error(STATUS.LOCKS_HELD)
    const lock = state as LockState
    if (context.locks.hasOwner(lock.file, lock.owner)) throw new Nfs4Error(STATUS.LOCKS_HELD)
    context.states.free(lock)
  },
}
