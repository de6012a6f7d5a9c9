import { after } from '../../../overlay-core/index.ts'
import { encodePostOpAttr } from './attributes.ts'
import { MAX_DIRECTORY_BYTES, MAX_TRANSFER_BYTES, POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Procedure } from './procedure.ts'

const FSF3_LINK = 0x01
const FSF3_SYMLINK = 0x02
const FSF3_HOMOGENEOUS = 0x08
const FSF3_CANSETTIME = 0x10
/** The suggested multiple for sizes of READ and WRITE: a page. */
const TRANSFER_MULTIPLE = 4096

/** NFSPROC3_FSINFO: limits and features of the server. RFC 1813 section 3.3.19. */
export const fsinfo: Nfs3Procedure = {
  name: 'FSINFO',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    call.handle.read(call.args)
    return after(call.resolve(call.handle), (inode) =>
      after(call.overlay.getattr(inode), (attr) => {
        const out = call.ok(POST_OP_ATTR_BYTES + 48)
        encodePostOpAttr(out, attr, call.served)
        for (let i = 0; i < 2; i++) {
          // rtmax, rtpref, rtmult, then the same for writes
          out.u32(MAX_TRANSFER_BYTES)
          out.u32(MAX_TRANSFER_BYTES)
          out.u32(TRANSFER_MULTIPLE)
        }
        out.u32(MAX_DIRECTORY_BYTES)
        out.safeU64(Number.MAX_SAFE_INTEGER)
        out.u32(0)
        out.u32(1) // time_delta: 1 ns
        out.u32(FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME)
      }),
    )
  },
}
