import type { ChangeInfo } from '../../../overlay-core/index.ts'
import { removed } from '../exports/earlier-run.ts'
import { encodeWccData } from './attributes.ts'
import { WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_EXIST, NFS3ERR_INVAL } from './status.ts'

/** NFSPROC3_RMDIR: removes an empty directory. RFC 1813 section 3.3.13 defines the statuses for "." and "..". */
export const rmdir: Nfs3Procedure = {
  name: 'RMDIR',
  failure: 'wcc_data',
  mutates: true,
  async run(call) {
    call.handle.read(call.args)
    const name = call.readName()

    const dir = await call.resolve(call.handle)
    refuseDots(name, name === '.' ? NFS3ERR_INVAL : NFS3ERR_EXIST)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    await removed(call, { dir, name }, () => call.overlay.rmdir(call.cred, dir, name, wcc))
    encodeWccData(call.ok(WCC_DATA_BYTES), wcc, call.served)
  },
}
