import { after, FileType } from '../../../overlay-core/index.ts'
import { MemberView } from '../exports/export-table.ts'
import type { Operation } from './operation.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** LOOKUPP: goes from a directory to the one above it, from the root of a view to where it is mounted. RFC 8881 section 18.14. */
export const lookupp: Operation = {
  name: 'LOOKUPP',
  run(call) {
    const { served, inode, grant } = call.object(call.current, STATUS.NOENT)
    if (inode.type === FileType.symlink) throw new Nfs4Error(STATUS.SYMLINK)
    if (inode.type !== FileType.directory) throw new Nfs4Error(STATUS.NOTDIR)
    call.currentStateid.clear()
    if (inode === served.overlay.root) {
      if (served instanceof MemberView) call.enter(served.template, served.template.overlay.root)
      else call.current.setRoot()
      return
    }
    return after(served.overlay.parent(grant.cred, inode), (parent) => call.current.setObject(served, parent, grant))
  },
}
