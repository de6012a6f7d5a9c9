import type { ChangeInfo } from '../../../overlay-core/index.ts'
import { encodeWccData } from './attributes.ts'
import { WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import { removed } from './earlier-run.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_ACCES } from './status.ts'

/** NFSPROC3_REMOVE: removes a name that is not a directory. RFC 1813 section 3.3.12. */
export const remove: Nfs3Procedure = {
  name: 'REMOVE',
  failure: 'wcc_data',
  mutates: true,
  async run(call) {
    call.handle.read(call.args)
    const name = call.readName()

    const dir = await call.resolve(call.handle)
    refuseDots(name, NFS3ERR_ACCES)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    await removed(call, { dir, name }, () => call.overlay.unlink(call.cred, dir, name, wcc))
    encodeWccData(call.ok(WCC_DATA_BYTES), wcc, call.served)
  },
}
