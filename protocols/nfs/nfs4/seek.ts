import { checkAccess } from './find-state.ts'
import { SERVER_CRED } from './open-file.ts'
import type { Operation } from './operation.ts'
import { Bitmap } from './wire/bitmap.ts'
import { SHARE_READ } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** `data_content4`. */
const DATA = 0
const HOLE = 1

/** SEEK: the next data or hole of a file. RFC 7862 section 15.11. */
export const seek: Operation = {
  name: 'SEEK',
  async run(call) {
    const { args } = call
    call.stateid.read(args)
    const offset = args.safeU64()
    const what = args.enumUpTo(HOLE)
    const { served, inode } = call.file()
    checkAccess(call, SHARE_READ)
    const { size } = await served.overlay.getattr(inode)
    if (offset === undefined || offset >= size) throw new Nfs4Error(STATUS.NXIO)
    const file = await served.overlay.open(SERVER_CRED, inode, { read: true })
    try {
      const found = what === DATA ? await file.nextData(offset) : await file.nextHole(offset)
      if (what === DATA && found >= size) throw new Nfs4Error(STATUS.NXIO)
      call.out.bool(found >= size)
      call.out.safeU64(found)
    } finally {
      file.close()
    }
  },
}

/** IO_ADVISE: what the client is going to do with a file. No hint is taken. RFC 7862 section 15.5. */
export const ioAdvise: Operation = {
  name: 'IO_ADVISE',
  run(call) {
    const { args } = call
    call.stateid.read(args)
    args.take(16)
    new Bitmap().read(args)
    call.file()
    checkAccess(call, SHARE_READ)
    new Bitmap().write(call.out)
  },
}
