import type { RpcCall } from '../rpc/call.ts'
import { PRIVILEGED_PORTS } from '../rpc/constants.ts'
import type { RpcProcedure, RpcProgram } from '../rpc/program.ts'
import { NSM_PROGRAM, NSM_V1, SM_MAXSTRLEN, SM_PRIV_BYTES, STAT_FAIL } from './constants.ts'

/** The callbacks of the status monitor. */
export interface NsmContext {
  /** The state of this server: odd, and different after each restart. */
  readonly state: number
  /** Called when a host reports that it has restarted. */
  restarted(address: string, name: string, state: number): void
}

/**
 * The network status monitor, version 1. Clients use only SM_NOTIFY. The monitor serves this server's own locks and accepts no orders from
 * others (statd did, which led to vulnerabilities): MON reports failure, UNMON reports that nothing is left, SIMU_CRASH does nothing.
 */
export function nsmProgram(context: NsmContext): RpcProgram {
  const procedure = (name: string, run: (call: RpcCall) => void): RpcProcedure => ({ name, nonIdempotent: false, run })
  const status = (call: RpcCall) => {
    const out = call.begin(8)
    out.u32(STAT_FAIL)
    out.u32(context.state)
  }
  return {
    number: NSM_PROGRAM,
    version: NSM_V1,
    procedures: [
      procedure('SM_NULL', (call) => call.begin(0)),
      procedure('SM_STAT', (call) => {
        call.args.string(SM_MAXSTRLEN)
        status(call)
      }),
      procedure('SM_MON', (call) => {
        readMonId(call)
        call.args.take(SM_PRIV_BYTES)
        status(call)
      }),
      procedure('SM_UNMON', (call) => {
        readMonId(call)
        call.begin(4).u32(context.state)
      }),
      procedure('SM_UNMON_ALL', (call) => {
        readMyId(call)
        call.begin(4).u32(context.state)
      }),
      procedure('SM_SIMU_CRASH', (call) => call.begin(0)),
      procedure('SM_NOTIFY', (call) => {
        const name = call.args.string(SM_MAXSTRLEN)
        const state = call.args.u32()
        // Any user of a machine can send from an ordinary port; its status monitor uses a privileged one.
        if (call.peer.port < PRIVILEGED_PORTS) context.restarted(call.peer.client, name, state)
        call.begin(0)
      }),
    ],
  }
}

function readMonId(call: RpcCall): void {
  call.args.string(SM_MAXSTRLEN)
  readMyId(call)
}

function readMyId(call: RpcCall): void {
  call.args.string(SM_MAXSTRLEN)
  call.args.take(12)
}
