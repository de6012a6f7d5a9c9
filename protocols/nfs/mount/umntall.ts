import type { RpcCall } from '../rpc/call.ts'
import type { MountContext } from './mount-context.ts'

/** MOUNTPROC3_UMNTALL: the client has no mounts any more. RFC 1813 section 5.2.4. */
export function umntAll(context: MountContext, call: RpcCall): void {
  context.mounts.removeAll(call.peer.address)
  call.begin(0)
}
