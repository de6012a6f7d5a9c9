import type { RpcCall } from '../rpc/call.ts'
import { LOOPBACK, PRIVILEGED_PORTS } from '../rpc/constants.ts'
import type { MountContext } from './mount-context.ts'

/** Maximum size of the reply; later entries are omitted. */
const MAX_DUMP_BYTES = 64 * 1024

/**
 * MOUNTPROC3_DUMP: lists clients and their mounts (RFC 1813 section 5.2.2): to each client its own, and all to root of this machine, because paths may contain the
 * names of users.
 */
export function dump(context: MountContext, call: RpcCall): void {
  const out = call.begin(MAX_DUMP_BYTES)
  let room = MAX_DUMP_BYTES
  const { address, port } = call.peer
  const all = LOOPBACK.test(address) && port < PRIVILEGED_PORTS
  for (const { client, path } of context.mounts.entries()) {
    if (client !== address && !all) continue
    room -= 4 + 8 + client.length + path.length + 6
    if (room < 4) break
    out.bool(true)
    out.string(client)
    out.string(path)
  }
  out.bool(false)
}
