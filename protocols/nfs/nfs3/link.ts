import type { ChangeInfo } from '../../../overlay-core/index.ts'
import { linked } from '../exports/earlier-run.ts'
import { encodePostOpAttr, encodeWccData } from './attributes.ts'
import { POST_OP_ATTR_BYTES, WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_EXIST } from './status.ts'

/** NFSPROC3_LINK: creates a hard link. RFC 1813 section 3.3.15. */
export const link: Nfs3Procedure = {
  name: 'LINK',
  failure: 'post_op_attr, wcc_data',
  mutates: true,
  async run(call) {
    call.handle.read(call.args)
    call.handle2.read(call.args)
    const name = call.readName()

    const inode = await call.resolve(call.handle)
    const dir = await call.resolve(call.handle2)
    refuseDots(name, NFS3ERR_EXIST)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    await linked(call, inode, { dir, name }, () => call.overlay.link(call.cred, inode, dir, name, wcc))
    const attr = await call.overlay.getattr(inode)
    const out = call.ok(POST_OP_ATTR_BYTES + WCC_DATA_BYTES)
    encodePostOpAttr(out, attr, call.served)
    encodeWccData(out, wcc, call.served)
  },
}
