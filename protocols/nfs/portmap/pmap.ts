import type { RpcCall } from '../rpc/call.ts'
import type { RpcProcedure, RpcProgram } from '../rpc/program.ts'
import { IPPROTO_TCP, IPPROTO_UDP, PMAP_PROGRAM, PMAP_V2 } from './constants.ts'
import type { Mappings } from './mappings.ts'

/** The portmapper, version 2 (RFC 1833 section 3). */
export function pmapProgram(mappings: Mappings): RpcProgram {
  const procedure = (name: string, run: (call: RpcCall) => void): RpcProcedure => ({ name, nonIdempotent: false, run })
  return {
    number: PMAP_PROGRAM,
    version: PMAP_V2,
    procedures: [
      procedure('PMAPPROC_NULL', (call) => call.begin(0)),
      procedure('PMAPPROC_SET', refuse),
      procedure('PMAPPROC_UNSET', refuse),
      procedure('PMAPPROC_GETPORT', (call) => getPort(mappings, call)),
      procedure('PMAPPROC_DUMP', (call) => dump(mappings, call)),
    ],
  }
}

/** SET and UNSET: registration is not allowed. */
function refuse(call: RpcCall): void {
  call.args.take(16)
  call.begin(4).bool(false)
}

function getPort(mappings: Mappings, call: RpcCall): void {
  const { args } = call
  const program = args.u32()
  const version = args.u32()
  const protocol = args.u32()
  args.u32() // the port, which is asked for
  const transport = protocol === IPPROTO_TCP ? 'tcp' : protocol === IPPROTO_UDP ? 'udp' : ''
  call.begin(4).u32(mappings.find(program, version, transport)?.port ?? 0)
}

function dump(mappings: Mappings, call: RpcCall): void {
  const out = call.begin(20 * mappings.list.length + 4)
  for (const { program, version, transport, port } of mappings.list) {
    out.bool(true)
    out.u32(program)
    out.u32(version)
    out.u32(transport === 'tcp' ? IPPROTO_TCP : IPPROTO_UDP)
    out.u32(port)
  }
  out.bool(false)
}
