import type { RpcCall } from '../rpc/call.ts'
import { PRIVILEGED_PORTS } from '../rpc/constants.ts'
import { LM_MAXSTRLEN } from './constants.ts'
import type { NlmContext } from './nlm-context.ts'

/** NLMPROC4_FREE_ALL: a client without a status monitor has restarted and holds no locks any more. */
export function freeAll(context: NlmContext, call: RpcCall): void {
  const name = call.args.string(LM_MAXSTRLEN)
  call.args.u32() // its state
  // As for SM_NOTIFY, only the client's root may send this.
  if (call.peer.port < PRIVILEGED_PORTS || call.peer.security === 'mtls') {
    for (const host of context.hosts.find(call.peer.client, name)) freeHost(context, host.key)
  }
  call.begin(0)
}

/** Handles SM_NOTIFY: a host has restarted, so its earlier locks are released. A repeated state is a retransmission. */
export function hostRestarted(context: NlmContext, client: string, name: string, state: number): void {
  for (const host of context.hosts.find(client, name)) {
    if (host.state === state) continue
    host.state = state
    context.log.info({ client: host.address, name }, 'client restarted: its locks are released')
    freeHost(context, host.key)
  }
}

/** Releases all locks and reservations of a host. */
export function freeHost({ locks, shares, grants }: NlmContext, client: string): void {
  grants.freeClient(client)
  locks.freeClient(client)
  shares.freeClient(client)
}
