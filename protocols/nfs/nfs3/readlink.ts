import { after } from '../../../overlay-core/index.ts'
import { encodePostOpAttr } from './attributes.ts'
import { POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Procedure } from './procedure.ts'

/** NFSPROC3_READLINK: the target of a symlink, byte for byte. RFC 1813 section 3.3.5. */
export const readlink: Nfs3Procedure = {
  name: 'READLINK',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    call.handle.read(call.args)
    return after(call.resolve(call.handle), (inode) =>
      after(call.overlay.readlink(call.cred, inode), (target) =>
        after(call.overlay.getattr(inode), (attr) => {
          const out = call.ok(POST_OP_ATTR_BYTES + 8 + target.length)
          encodePostOpAttr(out, attr, call.served)
          out.opaque(target)
        }),
      ),
    )
  },
}
