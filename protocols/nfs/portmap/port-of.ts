import { isIPv6 } from 'node:net'
import type { Destination, RpcCaller } from '../rpc/rpc-caller.ts'
import {
  IPPROTO_TCP,
  IPPROTO_UDP,
  MAX_RPCB_STRING,
  PMAP_PORT,
  PMAP_PROGRAM,
  PMAP_V2,
  PMAPPROC_GETPORT,
  RPCB_V4,
  RPCBPROC_GETADDR,
} from './constants.ts'
import { parseUniversalAddress } from './universal-address.ts'

/** A remote program. */
export interface Wanted {
  readonly address: string
  readonly program: number
  readonly version: number
  readonly transport: 'tcp' | 'udp'
}

/** Asks the portmapper of another machine for the port of a program: version 2 over IPv4, version 4 over IPv6. @throws Error there is no reply, or the program is not registered */
export async function destinationOf(caller: RpcCaller, wanted: Wanted, portmapPort = PMAP_PORT): Promise<Destination> {
  const { address, transport, program } = wanted
  const portmapper = { address, port: portmapPort, transport }
  const port = await (isIPv6(address)
    ? askVersion4(caller, portmapper, wanted)
    : askVersion2(caller, portmapper, wanted))
  if (port === 0) throw new Error(`program ${program} is not registered at ${address}`)
  return { address, port, transport }
}

async function askVersion2(caller: RpcCaller, portmapper: Destination, wanted: Wanted): Promise<number> {
  const what = { program: PMAP_PROGRAM, version: PMAP_V2, procedure: PMAPPROC_GETPORT }
  const reply = await caller.call(portmapper, what, (out) => {
    out.u32(wanted.program)
    out.u32(wanted.version)
    out.u32(wanted.transport === 'tcp' ? IPPROTO_TCP : IPPROTO_UDP)
    out.u32(0)
  })
  return reply.u32()
}

async function askVersion4(caller: RpcCaller, portmapper: Destination, wanted: Wanted): Promise<number> {
  const what = { program: PMAP_PROGRAM, version: RPCB_V4, procedure: RPCBPROC_GETADDR }
  const reply = await caller.call(portmapper, what, (out) => {
    out.u32(wanted.program)
    out.u32(wanted.version)
    out.string(`${wanted.transport}6`)
    out.string('')
    out.string('')
  })
  return parseUniversalAddress(reply.string(MAX_RPCB_STRING))?.port ?? 0
}
