import { after, type ChangeInfo } from '../../../overlay-core/index.ts'
import { removed } from '../exports/earlier-run.ts'
import { encodeWccData } from './attributes.ts'
import { WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_ACCES } from './status.ts'

/** NFSPROC3_REMOVE: removes a name that is not a directory. RFC 1813 section 3.3.12. */
export const remove: Nfs3Procedure = {
  name: 'REMOVE',
  failure: 'wcc_data',
  mutates: true,
  run(call) {
    call.handle.read(call.args)
    const name = call.readName()

    return after(call.resolve(call.handle), (dir) => {
      refuseDots(name, NFS3ERR_ACCES)
      const wcc: ChangeInfo = {}
      call.wcc = wcc
      const remove = () => call.overlay.unlink(call.cred, dir, name, wcc)
      return after(removed(call, { dir, name }, remove), () => encodeWccData(call.ok(WCC_DATA_BYTES), wcc, call.served))
    })
  },
}
