import { after, FileType } from '../../../overlay-core/index.ts'
import type { Operation } from './operation.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** READLINK: the target of a symlink, byte for byte. RFC 8881 section 18.24. */
export const readlink: Operation = {
  name: 'READLINK',
  run(call) {
    const { served, inode, grant } = call.object(call.current, STATUS.INVAL)
    if (inode.type !== FileType.symlink)
      throw new Nfs4Error(call.minor === 0 || inode.type === FileType.directory ? STATUS.INVAL : STATUS.WRONG_TYPE)
    return after(served.overlay.readlink(grant.cred, inode), (target) => call.need(target.length + 8).opaque(target))
  },
}
