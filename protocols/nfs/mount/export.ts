import type { RpcCall } from '../rpc/call.ts'
import type { MountContext } from './mount-context.ts'

/** Maximum size of the reply; later exports are omitted. */
const MAX_EXPORT_BYTES = 64 * 1024

/** MOUNTPROC3_EXPORT: the exports and who may mount them. RFC 1813 section 5.2.5. */
export function exportList(context: MountContext, call: RpcCall): void {
  const out = call.begin(MAX_EXPORT_BYTES)
  let room = MAX_EXPORT_BYTES
  for (const { path, rules } of context.exports.exports) {
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
