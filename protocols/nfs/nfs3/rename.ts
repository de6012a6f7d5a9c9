import type { ChangeInfo } from '../../../overlay-core/index.ts'
import { moved } from '../exports/earlier-run.ts'
import { encodeWccData } from './attributes.ts'
import { WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_INVAL } from './status.ts'

/** NFSPROC3_RENAME: moves a name and replaces an object at the new one. RFC 1813 section 3.3.14. */
export const rename: Nfs3Procedure = {
  name: 'RENAME',
  failure: 'two wcc_data',
  mutates: true,
  async run(call) {
    call.handle.read(call.args)
    const fromName = call.readName()
    call.handle2.read(call.args)
    const toName = call.readName()

    const fromDir = await call.resolve(call.handle)
    const toDir = await call.resolve(call.handle2)
    refuseDots(fromName, NFS3ERR_INVAL)
    refuseDots(toName, NFS3ERR_INVAL)
    const fromWcc: ChangeInfo = {}
    const toWcc: ChangeInfo = {}
    call.wcc = fromWcc
    call.wcc2 = toWcc
    const from = { dir: fromDir, name: fromName }
    await moved(call, from, { dir: toDir, name: toName }, () =>
      call.overlay.rename(call.cred, fromDir, fromName, toDir, toName, { fromInfo: fromWcc, toInfo: toWcc }),
    )
    const out = call.ok(2 * WCC_DATA_BYTES)
    encodeWccData(out, fromWcc, call.served)
    encodeWccData(out, toWcc, call.served)
  },
}
