import { encodePostOpAttr } from './attributes.ts'
import { POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Procedure } from './procedure.ts'

/** NFSPROC3_FSSTAT: space and files, free and used. RFC 1813 section 3.3.18. */
export const fsstat: Nfs3Procedure = {
  name: 'FSSTAT',
  failure: 'post_op_attr',
  mutates: false,
  async run(call) {
    call.handle.read(call.args)
    const inode = await call.resolve(call.handle)
    const stat = await call.overlay.statfs()
    const attr = await call.overlay.getattr(inode)
    const out = call.ok(POST_OP_ATTR_BYTES + 52)
    encodePostOpAttr(out, attr, call.served)
    out.safeU64(stat.totalBytes)
    out.safeU64(stat.freeBytes)
    out.safeU64(stat.availableBytes)
    out.safeU64(stat.totalFiles)
    out.safeU64(stat.freeFiles)
    out.safeU64(stat.freeFiles)
    out.u32(0) // invarsec: may change at any time
  },
}
