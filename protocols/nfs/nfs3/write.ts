import { after, type ChangeInfo, FileType, type Stability } from '../../../overlay-core/index.ts'
import { encodeWccData } from './attributes.ts'
import { MAX_TRANSFER_BYTES, WCC_DATA_BYTES } from './constants.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_FBIG, NFS3ERR_INVAL, Nfs3Error } from './status.ts'

/** `stable_how`: UNSTABLE, DATA_SYNC, FILE_SYNC. */
const STABILITY: readonly Stability[] = ['unstable', 'data', 'file']
/** More than is ever accepted, so that a longer write is shortened and not rejected as garbage. */
const MAX_WIRE_DATA = 2 * MAX_TRANSFER_BYTES

/** NFSPROC3_WRITE: writes data with the requested stability. RFC 1813 section 3.3.7. */
export const write: Nfs3Procedure = {
  name: 'WRITE',
  failure: 'wcc_data',
  mutates: true,
  run(call) {
    const { args, handle } = call
    handle.read(args)
    const offset = args.safeU64()
    const count = args.u32()
    const stable = args.enumUpTo(STABILITY.length - 1)
    const data = args.opaque(MAX_WIRE_DATA)

    return after(call.resolve(handle), (inode) => {
      if (inode.type !== FileType.regular || count !== data.length) throw new Nfs3Error(NFS3ERR_INVAL)
      if (offset === undefined || offset + count > Number.MAX_SAFE_INTEGER) throw new Nfs3Error(NFS3ERR_FBIG)
      const wcc: ChangeInfo = {}
      call.wcc = wcc
      const part = count > MAX_TRANSFER_BYTES ? data.subarray(0, MAX_TRANSFER_BYTES) : data
      // An async export reports "stable" at once, as exports(5) allows.
      const stability = call.grant.sync ? STABILITY[stable] : 'unstable'
      return after(call.overlay.write(call.cred, inode, part, offset, stability, wcc), () =>
        encode(call, wcc, part.length, stable),
      )
    })
  },
}

function encode(call: Nfs3Call, wcc: ChangeInfo, count: number, stable: number): void {
  const out = call.ok(WCC_DATA_BYTES + 16)
  encodeWccData(out, wcc, call.served)
  out.u32(count)
  out.u32(stable)
  out.fixedOpaque(call.context.verifier.bytes)
}
