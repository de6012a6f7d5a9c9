import { FileType } from '../../../overlay-core/index.ts'
import { decodeSettable } from './decode-attributes.ts'
import { checkAccess } from './find-state.ts'
import type { Operation } from './operation.ts'
import { SHARE_WRITE } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** SETATTR: changes attributes of the current object, all or none. RFC 8881 section 18.30. Changing the size needs what WRITE needs. */
export const setattr: Operation = {
  name: 'SETATTR',
  async run(call) {
    call.stateid.read(call.args)
    const { mask, change } = decodeSettable(call.args)
    const target = call.writable(call.object())
    const { served, inode, grant } = target
    if (change.size !== undefined) {
      if (inode.type === FileType.directory) throw new Nfs4Error(STATUS.ISDIR)
      checkAccess(call, SHARE_WRITE)
    }
    await served.overlay.setattr(grant.cred, inode, change)
    call.keep(target, inode)
    mask.write(call.out)
  },
}
