import type { Address } from './settings.ts'

/** Where administrators reach the server besides the socket in the state directory. */
export interface AdminSettings {
  /** Undefined: not over TCP. */
  readonly listen: Address | undefined
  /** One more Unix socket. Absolute; undefined: there is none. */
  readonly socket: string | undefined
  /** The group whose members may use `socket`; undefined: only root and the user of the server may. */
  readonly group: string | undefined
}
