import type { RpcCall } from '../rpc/call.ts'
import { MNTPATHLEN } from './constants.ts'
import type { MountContext } from './mount-context.ts'

/** MOUNTPROC3_UMNT: the client has unmounted a path. RFC 1813 section 5.2.3. */
export function umnt(context: MountContext, call: RpcCall): void {
  context.mounts.remove(call.peer.address, call.args.string(MNTPATHLEN))
  call.begin(0)
}
