import type { Attr, ChangeInfo } from '../../../overlay-core/index.ts'
import { setEarlier } from '../exports/earlier-run.ts'
import { attrChange, decodeSattr3, encodeWccData } from './attributes.ts'
import { WCC_DATA_BYTES } from './constants.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_NOT_SYNC, Nfs3Error } from './status.ts'

/** NFSPROC3_SETATTR: changes attributes, with an optional check that ctime is as the client expects. RFC 1813 section 3.3.2. */
export const setattr: Nfs3Procedure = {
  name: 'SETATTR',
  failure: 'wcc_data',
  mutates: true,
  async run(call) {
    const { args } = call
    call.handle.read(args)
    const sattr = decodeSattr3(args)
    const guarded = args.bool()
    const guardSec = guarded ? args.u32() : 0
    const guardNsec = guarded ? args.u32() : 0

    const inode = await call.resolve(call.handle)
    const wcc: ChangeInfo = {}
    call.wcc = wcc
    const change = attrChange(sattr)
    const guard = (now: Attr): void => {
      const { ctime } = now
      const same = ctime.sec >>> 0 === guardSec && ctime.nsec === guardNsec
      if (!same && !setEarlier(call, now, change)) throw new Nfs3Error(NFS3ERR_NOT_SYNC)
    }
    await call.overlay.setattr(call.cred, inode, change, wcc, guarded ? guard : undefined)
    encodeWccData(call.ok(WCC_DATA_BYTES), wcc, call.served)
  },
}
