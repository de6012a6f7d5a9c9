import { isIPv6 } from 'node:net'
import { MOUNT_PROGRAM, MOUNT_V3 } from './mount/constants.ts'
import { NFS_PROGRAM, NFS_V3 } from './nfs3/constants.ts'
import { NLM_PROGRAM, NLM_V4 } from './nlm/constants.ts'
import { NSM_PROGRAM, NSM_V1 } from './nsm/constants.ts'
import { PMAP_PROGRAM, PMAP_V2, RPCB_V3, RPCB_V4 } from './portmap/constants.ts'
import type { Mapping, Mappings } from './portmap/mappings.ts'
import { pmapProgram } from './portmap/pmap.ts'
import { rpcbProgram } from './portmap/rpcb.ts'
import type { RpcProgram } from './rpc/program.ts'
import type { Registration } from './rpc/rpcbind.ts'

/** Programs that stay with another server of this machine if it has them. */
const YIELDING = new Set([NLM_PROGRAM, NSM_PROGRAM])

/** The TCP and UDP ports of a server. They are equal unless the system picked them. */
export interface Ports {
  readonly tcpPort: number
  readonly udpPort: number
}

/** The programs that clients can find: NFS on TCP, the small ones on UDP too. */
export function servedMappings({ tcpPort, udpPort }: Ports): Mapping[] {
  const small = [
    { program: MOUNT_PROGRAM, version: MOUNT_V3 },
    { program: NLM_PROGRAM, version: NLM_V4 },
    { program: NSM_PROGRAM, version: NSM_V1 },
  ]
  return [
    { program: NFS_PROGRAM, version: NFS_V3, transport: 'tcp', port: tcpPort },
    ...small.flatMap((program) => onBoth(program, { tcpPort, udpPort })),
  ]
}

/** The portmapper itself. */
export function portmapMappings(ports: Ports): Mapping[] {
  return [PMAP_V2, RPCB_V3, RPCB_V4].flatMap((version) => onBoth({ program: PMAP_PROGRAM, version }, ports))
}

function onBoth(program: { program: number; version: number }, { tcpPort, udpPort }: Ports): Mapping[] {
  return [
    { ...program, transport: 'tcp', port: tcpPort },
    { ...program, transport: 'udp', port: udpPort },
  ]
}

/** The registrations for rpcbind of programs that listen on `host`. */
export function registrationsFor(ports: Ports, host: string): Registration[] {
  const ipv6 = isIPv6(host)
  return servedMappings(ports).map((mapping) => ({ ...mapping, ipv6, yields: YIELDING.has(mapping.program) }))
}

/** The three versions of the built-in portmapper. */
export function portmapPrograms(mappings: Mappings, wallSeconds: () => number): RpcProgram[] {
  const context = { mappings, wallSeconds }
  return [pmapProgram(mappings), rpcbProgram(context, RPCB_V3), rpcbProgram(context, RPCB_V4)]
}
