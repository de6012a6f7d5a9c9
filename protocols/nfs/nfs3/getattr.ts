import { after } from '../../../overlay-core/index.ts'
import { encodeFattr3 } from './attributes.ts'
import { POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Procedure } from './procedure.ts'

/** NFSPROC3_GETATTR: the attributes of an object. RFC 1813 section 3.3.1. */
export const getattr: Nfs3Procedure = {
  name: 'GETATTR',
  failure: 'void',
  mutates: false,
  run(call) {
    call.handle.read(call.args)
    return after(call.resolve(call.handle), (inode) =>
      after(call.overlay.getattr(inode), (attr) => encodeFattr3(call.ok(POST_OP_ATTR_BYTES), attr, call.served)),
    )
  },
}
