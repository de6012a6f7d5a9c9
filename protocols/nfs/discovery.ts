import type { AddressInfo } from 'node:net'
import { MOUNT_PROGRAM, MOUNT_V3 } from './mount/constants.ts'
import { NFS_PROGRAM, NFS_V3 } from './nfs3/constants.ts'
import { NLM_PROGRAM, NLM_V4 } from './nlm/constants.ts'
import { NSM_PROGRAM, NSM_V1 } from './nsm/constants.ts'
import { PMAP_PROGRAM, PMAP_V2, RPCB_V3, RPCB_V4 } from './portmap/constants.ts'
import { type Mapping, Mappings } from './portmap/mappings.ts'
import { pmapProgram } from './portmap/pmap.ts'
import { rpcbProgram } from './portmap/rpcb.ts'
import type { RpcProgram } from './rpc/program.ts'
import type { Registration } from './rpc/rpcbind.ts'

/** Programs that another server of the machine may have, and keeps then. */
const YIELDING = new Set([NLM_PROGRAM, NSM_PROGRAM])

/** What clients can find: NFS on TCP, the small programs on UDP too, all on one port number. */
export function servedMappings(port: number): Mapping[] {
  const small = [
    { program: MOUNT_PROGRAM, version: MOUNT_V3 },
    { program: NLM_PROGRAM, version: NLM_V4 },
    { program: NSM_PROGRAM, version: NSM_V1 },
  ]
  return [
    { program: NFS_PROGRAM, version: NFS_V3, transport: 'tcp', port },
    ...small.flatMap((program) => (['tcp', 'udp'] as const).map((transport) => ({ ...program, transport, port }))),
  ]
}

/** The same for rpcbind. */
export function registrationsFor({ port }: AddressInfo): Registration[] {
  return servedMappings(port).map((mapping) => ({ ...mapping, yields: YIELDING.has(mapping.program) }))
}

/** The built-in portmapper in its three versions, which knows itself too. */
export function portmapPrograms(
  nfsPort: number,
  portmapPort: number,
  host: string,
  wallSeconds: () => number,
): RpcProgram[] {
  const own = [PMAP_V2, RPCB_V3, RPCB_V4].flatMap((version) =>
    (['tcp', 'udp'] as const).map((transport) => ({ program: PMAP_PROGRAM, version, transport, port: portmapPort })),
  )
  const mappings = new Mappings([...own, ...servedMappings(nfsPort)], host)
  const context = { mappings, wallSeconds }
  return [pmapProgram(mappings), rpcbProgram(context, RPCB_V3), rpcbProgram(context, RPCB_V4)]
}
