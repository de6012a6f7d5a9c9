import type { ChangeInfo } from '../../../overlay-core/index.ts'
import { encodeWccData } from './attributes.ts'
import { WCC_DATA_BYTES } from './constants.ts'
import type { Nfs3Procedure } from './procedure.ts'

/**
 * NFSPROC3_COMMIT: makes unstable writes durable. RFC 1813 section 3.3.21. The whole file is made durable, whatever the range.
 * An async export replies without doing so, as exports(5) allows.
 */
export const commit: Nfs3Procedure = {
  name: 'COMMIT',
  failure: 'wcc_data',
  mutates: false,
  async run(call) {
    const { args } = call
    call.handle.read(args)
    args.take(12) // offset and count
    const inode = await call.resolve(call.handle)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    if (call.grant.sync && !call.grant.readOnly) await call.overlay.commit(call.cred, inode, wcc)
    else wcc.after = await call.overlay.getattr(inode)
    const out = call.ok(WCC_DATA_BYTES + 8)
    encodeWccData(out, wcc, call.served)
    out.fixedOpaque(call.context.verifier.bytes)
  },
}
