import type { Operation } from './operation.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** SAVEFH: copies the current filehandle and stateid to the saved ones. RFC 8881 section 18.27. */
export const savefh: Operation = {
  name: 'SAVEFH',
  run(call) {
    if (call.current.kind === 'none') throw new Nfs4Error(STATUS.NOFILEHANDLE)
    call.saved.set(call.current)
    call.savedStateid.set(call.currentStateid)
  },
}

/** RESTOREFH: the other way round. RFC 8881 section 18.26. */
export const restorefh: Operation = {
  name: 'RESTOREFH',
  run(call) {
    if (call.saved.kind === 'none') throw new Nfs4Error(call.minor === 0 ? STATUS.RESTOREFH : STATUS.NOFILEHANDLE)
    call.current.set(call.saved)
    call.currentStateid.set(call.savedStateid)
  },
}
