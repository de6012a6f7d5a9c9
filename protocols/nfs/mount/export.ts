import type { RpcCall } from '../rpc/call.ts'
import type { MountContext } from './mount-context.ts'

/** Maximum size of the reply; later exports are omitted. */
const MAX_EXPORT_BYTES = 64 * 1024

/** MOUNTPROC3_EXPORT: the exports that the caller may mount, and who else may (RFC 1813 section 5.2.5). Others learn no names. */
export function exportList(context: MountContext, call: RpcCall): void {
  const out = call.begin(MAX_EXPORT_BYTES)
  let room = MAX_EXPORT_BYTES
  const { address } = call.peer
  for (const each of context.exports.exports) {
    if (!each.isFor(address)) continue
    const { path, rules } = each
    room -= 16 + path.length + rules.reduce((sum, { client }) => sum + 12 + client.length, 0)
    if (room < 4) break
    out.bool(true)
    out.string(path)
    for (const { client } of rules) {
      out.bool(true)
      out.string(client)
    }
    out.bool(false)
  }
  out.bool(false)
}
