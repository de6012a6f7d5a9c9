import { encodePostOpAttr } from './attributes.ts'
import { POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Procedure } from './procedure.ts'

/** The number of links that every common file system allows; exceeding the real limit gives NFS3ERR_MLINK. */
const LINK_MAX = 32000

/** NFSPROC3_PATHCONF: the limits of pathconf(3). RFC 1813 section 3.3.20. */
export const pathconf: Nfs3Procedure = {
  name: 'PATHCONF',
  failure: 'post_op_attr',
  mutates: false,
  async run(call) {
    call.handle.read(call.args)
    const inode = await call.resolve(call.handle)
    const { nameMax } = await call.overlay.statfs()
    const attr = await call.overlay.getattr(inode)
    const out = call.ok(POST_OP_ATTR_BYTES + 24)
    encodePostOpAttr(out, attr, call.served)
    out.u32(LINK_MAX)
    out.u32(nameMax)
    out.bool(true) // no_trunc: longer names are refused
    out.bool(true) // chown_restricted
    out.bool(false) // case_insensitive
    out.bool(true) // case_preserving
  },
}
