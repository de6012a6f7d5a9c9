import { type Attr, type ChangeInfo, FileType, type Inode } from '../../../overlay-core/index.ts'
import { made } from '../exports/earlier-run.ts'
import { attrChange, decodeSattr3, encodeNewObject, encodeWccData } from './attributes.ts'
import { POST_OP_ATTR_BYTES, WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_EXIST } from './status.ts'

const SYMLINK_MODE = 0o777
/** Maximum `nfspath3` read from the wire; the core reports targets that are too long. */
const MAX_WIRE_TARGET = 64 * 1024

/** NFSPROC3_SYMLINK: creates a symlink with any bytes as its target. RFC 1813 section 3.3.10. Mode and size are ignored. */
export const symlink: Nfs3Procedure = {
  name: 'SYMLINK',
  failure: 'wcc_data',
  mutates: true,
  async run(call) {
    const { args } = call
    call.handle.read(args)
    const name = call.readName()
    const { size: _size, mode: _mode, ...change } = attrChange(decodeSattr3(args))
    const target = args.opaque(MAX_WIRE_TARGET)

    const dir = await call.resolve(call.handle)
    refuseDots(name, NFS3ERR_EXIST)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    const isSame = async (attr: Attr, found: Inode) =>
      attr.type === FileType.symlink && Buffer.compare(await call.overlay.readlink(call.cred, found), target) === 0
    const inode = await made(call, { dir, name }, isSame, () =>
      call.overlay.symlink(call.cred, dir, name, target, { mode: SYMLINK_MODE, ...change }, wcc),
    )
    const attr = await call.overlay.getattr(inode)
    const out = call.ok(64 + POST_OP_ATTR_BYTES + WCC_DATA_BYTES)
    encodeNewObject(out, call, inode, attr)
    encodeWccData(out, wcc, call.served)
  },
}
