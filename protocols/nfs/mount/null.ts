import type { RpcCall } from '../rpc/call.ts'

/** MOUNTPROC3_NULL: does nothing. RFC 1813 section 5.2.0. */
export function mountNull(call: RpcCall): void {
  call.begin(0)
}
