import { after, type Stability } from '../../../overlay-core/index.ts'
import { checkAccess } from './find-state.ts'
import type { Operation } from './operation.ts'
import { MAX_TRANSFER_BYTES, SHARE_WRITE } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** `stable_how4`: UNSTABLE4, DATA_SYNC4, FILE_SYNC4. */
const STABILITY: readonly Stability[] = ['unstable', 'data', 'file']
/** More than is ever accepted, so that a longer write is shortened and not rejected as garbage. */
const MAX_WIRE_DATA = 2 * MAX_TRANSFER_BYTES

/** WRITE: data with the requested stability. RFC 8881 section 18.32. */
export const write: Operation = {
  name: 'WRITE',
  run(call) {
    const { args } = call
    call.stateid.read(args)
    const offset = args.safeU64()
    const stable = args.enumUpTo(STABILITY.length - 1)
    const data = args.opaque(MAX_WIRE_DATA)
    const { served, inode, grant } = call.writable(call.file())
    checkAccess(call, SHARE_WRITE)
    if (offset === undefined || offset + data.length > Number.MAX_SAFE_INTEGER) throw new Nfs4Error(STATUS.FBIG)
    const part = data.length > MAX_TRANSFER_BYTES ? data.subarray(0, MAX_TRANSFER_BYTES) : data
    // An async export reports "stable" at once, as exports(5) allows.
    const stability = grant.sync ? STABILITY[stable]! : 'unstable'
    return after(served.overlay.write(grant.cred, inode, part, offset, stability), () => {
      const { out } = call
      out.u32(part.length)
      out.u32(stable)
      out.fixedOpaque(call.context.verifier.bytes)
    })
  },
}
