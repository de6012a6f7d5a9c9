import { currentOpen } from './find-state.ts'
import type { Operation } from './operation.ts'
import { SHARE_BOTH } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** CLOSE: ends an open and the locks in it. RFC 8881 section 18.2. */
export const close: Operation = {
  name: 'CLOSE',
  run(call) {
    const { args, context, out, currentStateid } = call
    args.u32() // seqid
    call.stateid.read(args)
    call.object()
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
    args.u32() // seqid
    const access = args.u32() & SHARE_BOTH
    const deny = args.u32()
    call.object()
    const state = currentOpen(call)
    if (access === 0 || deny & ~SHARE_BOTH) throw new Nfs4Error(STATUS.INVAL)
    if (access & ~state.access || deny & ~state.deny) throw new Nfs4Error(STATUS.INVAL)
    context.states.downgrade(state, access, deny)
    state.name(currentStateid)
    currentStateid.write(out)
  },
}
