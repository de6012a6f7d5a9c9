import { currentOpen } from './find-state.ts'
import type { Operation } from './operation.ts'
import { isStateAgain } from './sequenced.ts'
import { SHARE_BOTH } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** CLOSE: ends an open and the locks in it. RFC 8881 section 18.2. */
export const close: Operation = {
  name: 'CLOSE',
  run(call) {
    const { args, context, out, currentStateid } = call
    const seqid = args.u32()
    call.stateid.read(args)
    call.object()
    if (isStateAgain(call, seqid)) return
    context.states.close(currentOpen(call))
    // A stateid that is never valid.
    currentStateid.clear()
    currentStateid.seqid = 0xffff_ffff
    currentStateid.write(out)
  },
}

/** OPEN_DOWNGRADE: reduces an open to what another OPEN had asked for. RFC 8881 section 18.18. */
export const openDowngrade: Operation = {
  name: 'OPEN_DOWNGRADE',
  run(call) {
    const { args, context, out, currentStateid } = call
    call.stateid.read(args)
    const seqid = args.u32()
    const access = args.u32() & SHARE_BOTH
    const deny = args.u32()
    call.object()
    if (isStateAgain(call, seqid)) return
    const state = currentOpen(call)
    if (access === 0 || deny & ~SHARE_BOTH) throw new Nfs4Error(STATUS.INVAL)
    if (access & ~state.access || deny & ~state.deny) throw new Nfs4Error(STATUS.INVAL)
    context.states.downgrade(state, access, deny)
    state.name(currentStateid)
    currentStateid.write(out)
  },
}

/** OPEN_CONFIRM: the first OPEN of an owner was no old request. RFC 7530 section 16.18. */
export const openConfirm: Operation = {
  name: 'OPEN_CONFIRM',
  until: 0,
  run(call) {
    const { args, out, currentStateid } = call
    call.stateid.read(args)
    const seqid = args.u32()
    call.object()
    if (isStateAgain(call, seqid)) return
    const state = currentOpen(call)
    if (state.owner.sequence.confirmed) throw new Nfs4Error(STATUS.BAD_STATEID)
    state.owner.sequence.confirmed = true
    state.changed()
    state.name(currentStateid)
    currentStateid.write(out)
  },
}
