import type { Operation } from './operation.ts'
import { ROOT_OBJECT, ROOT_VIEW } from './pseudo-root.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** GETFH: the filehandle of the current object. RFC 8881 section 18.8. */
export const getfh: Operation = {
  name: 'GETFH',
  run(call) {
    const { current, context, out } = call
    if (current.kind === 'none') throw new Nfs4Error(STATUS.NOFILEHANDLE)
    if (current.kind === 'root') {
      context.handles.write(out, ROOT_VIEW, ROOT_OBJECT)
      return
    }
    call.gives(current.served!.overlay, current.inode!)
    context.handles.write(out, current.served!, current.inode!)
  },
}
