import { type Attr, type ChangeInfo, FileType } from '../../../overlay-core/index.ts'
import { made } from '../exports/earlier-run.ts'
import { attrChange, decodeSattr3, encodeNewObject, encodeWccData } from './attributes.ts'
import { POST_OP_ATTR_BYTES, WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_EXIST } from './status.ts'

const DEFAULT_MODE = 0o700

/** NFSPROC3_MKDIR: creates a directory. RFC 1813 section 3.3.9. A size in the attributes is ignored. */
export const mkdir: Nfs3Procedure = {
  name: 'MKDIR',
  failure: 'wcc_data',
  mutates: true,
  async run(call) {
    call.handle.read(call.args)
    const name = call.readName()
    const { size: _size, ...change } = attrChange(decodeSattr3(call.args))

    const dir = await call.resolve(call.handle)
    refuseDots(name, NFS3ERR_EXIST)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    const { uid = call.cred.uid } = change
    const isSame = (attr: Attr) => attr.type === FileType.directory && attr.uid === uid
    const inode = await made(call, { dir, name }, isSame, () =>
      call.overlay.mkdir(call.cred, dir, name, { mode: DEFAULT_MODE, ...change }, wcc),
    )
    const attr = await call.overlay.getattr(inode)
    const out = call.ok(64 + POST_OP_ATTR_BYTES + WCC_DATA_BYTES)
    encodeNewObject(out, call, inode, attr)
    encodeWccData(out, wcc, call.served)
  },
}
