import { type Attr, type ChangeInfo, FileType } from '../../../overlay-core/index.ts'
import { made } from '../exports/earlier-run.ts'
import type { Decoder } from '../xdr/decoder.ts'
import { attrChange, decodeSattr3, encodeNewObject, encodeWccData, type Sattr3 } from './attributes.ts'
import { NF3BLK, NF3CHR, NF3FIFO, NF3SOCK, POST_OP_ATTR_BYTES, WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_BADTYPE, NFS3ERR_EXIST, Nfs3Error } from './status.ts'

const DEFAULT_MODE = 0o600
const TYPES: Readonly<Record<number, FileType>> = {
  [NF3CHR]: FileType.character,
  [NF3BLK]: FileType.block,
  [NF3SOCK]: FileType.socket,
  [NF3FIFO]: FileType.fifo,
}

interface MknodData {
  readonly type: FileType
  readonly sattr: Sattr3
  readonly rdev: { major: number; minor: number }
}

/** NFSPROC3_MKNOD: creates a device, socket or fifo. RFC 1813 section 3.3.11. */
export const mknod: Nfs3Procedure = {
  name: 'MKNOD',
  failure: 'wcc_data',
  mutates: true,
  async run(call) {
    call.handle.read(call.args)
    const name = call.readName()
    const { type, sattr, rdev } = decodeMknodData(call.args)
    const { size: _size, ...change } = attrChange(sattr)

    const dir = await call.resolve(call.handle)
    refuseDots(name, NFS3ERR_EXIST)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    const { uid = call.cred.uid } = change
    const isSame = (attr: Attr) =>
      attr.type === type && attr.rdevMajor === rdev.major && attr.rdevMinor === rdev.minor && attr.uid === uid
    const inode = await made(call, { dir, name }, isSame, () =>
      call.overlay.mknod(call.cred, dir, name, type, rdev, { mode: DEFAULT_MODE, ...change }, wcc),
    )
    const attr = await call.overlay.getattr(inode)
    const out = call.ok(64 + POST_OP_ATTR_BYTES + WCC_DATA_BYTES)
    encodeNewObject(out, call, inode, attr)
    encodeWccData(out, wcc, call.served)
  },
}

/** Reads a `mknoddata3`. @throws Nfs3Error NFS3ERR_BADTYPE a type of another procedure, or an unknown one */
function decodeMknodData(args: Decoder): MknodData {
  const ftype = args.u32()
  const type = TYPES[ftype]
  if (type === undefined) throw new Nfs3Error(NFS3ERR_BADTYPE)
  const sattr = decodeSattr3(args)
  const isDevice = ftype === NF3CHR || ftype === NF3BLK
  const rdev = isDevice ? { major: args.u32(), minor: args.u32() } : { major: 0, minor: 0 }
  return { type, sattr, rdev }
}
