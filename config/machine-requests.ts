import type { ConfigRequest, ReloadRequest } from './settings.ts'

/** What `overlayd machine` is told. */
export interface MachineRequest extends ReloadRequest {
  readonly verb: 'list' | 'show' | 'reset' | 'forget' | 'approve' | 'pin' | 'unpin' | 'console-args'
  /** Empty for `list`. */
  readonly name: string
  /** The MAC of the machine that is approved. */
  readonly mac: string | undefined
  readonly view: string | undefined
  readonly groups: readonly string[]
  /** Whether a reset lets go of what the view contains. */
  readonly drop: boolean
  /** Whether nothing is asked. */
  readonly yes: boolean
  readonly json: boolean
}

/** What `overlayd boot dnsmasq` is told. */
export interface DnsmasqRequest {
  readonly config: ConfigRequest
  /** The network in which another server gives out addresses. */
  readonly network: { readonly address: string; readonly bits: number } | undefined
  /** The addresses that dnsmasq gives out itself. */
  readonly range: { readonly first: string; readonly last: string } | undefined
  readonly interface: string | undefined
  readonly tftpRoot: string
}
