import { type Attr, after, type MaybePromise, type StatFs } from '../../../overlay-core/index.ts'
import { type Described, needsStatFs } from './encode-attributes.ts'
import type { FileRef } from './file-ref.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Bitmap } from './wire/bitmap.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const ROOT_STATFS: StatFs = {
  ...{ totalBytes: 0, freeBytes: 0, availableBytes: 0, totalFiles: 0, freeFiles: 0, nameMax: 255, blockSize: 4096 },
}

/** What is needed to tell the attributes `asked` of an object. @throws Nfs4Error NOFILEHANDLE · OverlayError */
export function describe(call: Nfs4Call, ref: FileRef, asked: Bitmap): MaybePromise<Described> {
  const { minor } = call
  const { handles, root } = call.context
  if (ref.kind === 'none') throw new Nfs4Error(STATUS.NOFILEHANDLE)
  if (ref.kind === 'root') {
    return { attr: root.attr, served: undefined, inode: undefined, statfs: ROOT_STATFS, handles, minor }
  }
  const { served, inode } = ref
  const { overlay } = served!
  return after(overlay.getattr(inode!), (attr: Attr) => {
    if (!needsStatFs(asked)) return { attr, served, inode, statfs: undefined, handles, minor }
    return overlay.statfs().then((statfs) => ({ attr, served, inode, statfs, handles, minor }))
  })
}
