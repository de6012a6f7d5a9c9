import { isIP } from 'node:net'
import type { RpcCall } from '../rpc/call.ts'
import type { RpcProcedure, RpcProgram } from '../rpc/program.ts'
import type { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { MAX_RPCB_STRING, PMAP_PROGRAM, type RPCB_V3, RPCB_V4 } from './constants.ts'
import type { Mapping, Mappings } from './mappings.ts'
import { parseUniversalAddress, universalAddress } from './universal-address.ts'

/** The context of the rpcbind procedures. */
export interface RpcbContext {
  readonly mappings: Mappings
  /** Seconds since 1970. */
  readonly wallSeconds: () => number
}

/** An `rpcb` (RFC 1833 section 2.1) in a request. */
interface Asked {
  readonly program: number
  readonly version: number
  readonly netid: string
  readonly address: string
}

const OWNER = 'overlayd'
/** `r_nc_semantics`: connectionless, and connection-oriented with orderly release. */
const NC_TPI_CLTS = 1
const NC_TPI_COTS_ORD = 3
const ENTRY_BYTES = 256

/** rpcbind, version 3 or 4 (RFC 1833 section 2). Other procedures get PROC_UNAVAIL, in particular CALLIT, which forwards calls and is mostly abused. */
export function rpcbProgram(context: RpcbContext, version: typeof RPCB_V3 | typeof RPCB_V4): RpcProgram {
  const procedures: RpcProcedure[] = []
  const add = (number: number, name: string, run: (context: RpcbContext, call: RpcCall) => unknown) => {
    procedures[number] = {
      name: `RPCBPROC_${name}`,
      nonIdempotent: false,
      run: (call) => {
        run(context, call)
      },
    }
  }
  add(0, 'NULL', (_context, call) => call.begin(0))
  add(1, 'SET', refuse)
  add(2, 'UNSET', refuse)
  add(3, 'GETADDR', (context, call) => getAddress(context, call, false))
  add(4, 'DUMP', dump)
  add(6, 'GETTIME', ({ wallSeconds }, call) => call.begin(4).u32(wallSeconds()))
  if (version === RPCB_V4) {
    add(9, 'GETVERSADDR', (context, call) => getAddress(context, call, true))
    add(11, 'GETADDRLIST', getAddressList)
  }
  return { number: PMAP_PROGRAM, version, procedures }
}

function decodeRpcb(args: Decoder): Asked {
  const asked = {
    program: args.u32(),
    version: args.u32(),
    netid: args.string(MAX_RPCB_STRING),
    address: args.string(MAX_RPCB_STRING),
  }
  args.string(MAX_RPCB_STRING) // the owner
  return asked
}

function refuse(_context: RpcbContext, call: RpcCall): void {
  decodeRpcb(call.args)
  call.begin(4).bool(false)
}

function getAddress(context: RpcbContext, call: RpcCall, exact: boolean): void {
  const asked = decodeRpcb(call.args)
  const { mappings } = context
  // Without a known netid, use the transport of the request.
  const transport = asked.netid === '' ? call.peer.transport : mappings.transportOf(asked.netid)
  const mapping = transport && mappings.find(asked.program, asked.version, transport, exact)
  const text = mapping ? addressOf(mappings, mapping, call, asked) : ''
  call.begin(text.length + 8).string(text)
}

function addressOf(mappings: Mappings, mapping: Mapping, call: RpcCall, asked: Asked): string {
  const asking = parseUniversalAddress(asked.address)?.address ?? ''
  const hint = isIP(asking) === 0 ? undefined : asking
  return universalAddress(mappings.addressFor(call.peer.localAddress, hint), mapping.port)
}

function dump({ mappings }: RpcbContext, call: RpcCall): void {
  const out = call.begin(2 * ENTRY_BYTES * mappings.list.length + 4)
  for (const mapping of mappings.list) {
    for (const netid of mappings.netidsOf(mapping)) {
      out.bool(true)
      out.u32(mapping.program)
      out.u32(mapping.version)
      out.string(netid)
      out.string(universalAddress(mappings.addressFor(call.peer.localAddress, undefined), mapping.port))
      out.string(OWNER)
    }
  }
  out.bool(false)
}

/** All transports of exactly this version, as an `rpcb_entry_list`. */
function getAddressList({ mappings }: RpcbContext, call: RpcCall): void {
  const asked = decodeRpcb(call.args)
  const found = mappings.list.filter(({ program, version }) => program === asked.program && version === asked.version)
  const out = call.begin(2 * ENTRY_BYTES * found.length + 4)
  for (const mapping of found) {
    for (const netid of mappings.netidsOf(mapping)) {
      encodeEntry(out, addressOf(mappings, mapping, call, asked), netid, mapping.transport)
    }
  }
  out.bool(false)
}

function encodeEntry(out: Encoder, address: string, netid: string, transport: 'tcp' | 'udp'): void {
  out.bool(true)
  out.string(address)
  out.string(netid)
  out.u32(transport === 'tcp' ? NC_TPI_COTS_ORD : NC_TPI_CLTS)
  out.string(netid.endsWith('6') ? 'inet6' : 'inet')
  out.string(transport)
}
