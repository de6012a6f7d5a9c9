import type { MountOptions } from '../overlay-core/index.ts'
import type { Network } from './proxy-options.ts'

/** The address of a listener. */
export interface Address {
  /** A host name or address, without brackets. */
  readonly host: string
  /** TCP port; 0 lets the system pick one. */
  readonly port: number
  /** False when it is the default: the sample then moves to a free port instead of giving up. */
  readonly given: boolean
}

/** One overlay to serve: at `/name/` over WebDAV and as the NFS export `/name`. */
export interface ViewSettings {
  readonly name: string
  /** Undefined for the sample, whose directories lie under the state directory. */
  readonly mount: MountOptions | undefined
  /** Lines of exports(5) clients, as given: `CLIENT(OPTIONS) …`. */
  readonly exports: readonly string[]
  /** False when `exports` is the default. */
  readonly exportsGiven: boolean
}

export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export const LOCK_POLICIES = ['advisory', 'mandatory'] as const
export type LockPolicy = (typeof LOCK_POLICIES)[number]

export const SYMLINK_POLICIES = ['follow', 'hide', 'refuse'] as const
export type SymlinkPolicy = (typeof SYMLINK_POLICIES)[number]

/** Everything a server run is told. */
export interface Settings {
  /** One today; the model of the server is a list. */
  readonly views: readonly ViewSettings[]
  /** Undefined: switched off. At least one listener is on. */
  readonly webdav: Address | undefined
  readonly nfs: Address | undefined
  /** On whose behalf WebDAV acts; undefined: the server's own user, and nobody for root. */
  readonly as: { readonly uid: number; readonly gid: number } | undefined
  /** Whom WebDAV locks hold off: only WebDAV clients, or those of other protocols too. */
  readonly locks: LockPolicy
  /** What WebDAV clients see of symlinks. */
  readonly symlinks: SymlinkPolicy
  /** PROPFIND of a whole tree is answered. */
  readonly depthInfinity: boolean
  readonly insecureNoAuth: boolean
  /** Origins under which clients know the server, beside the address that it listens on: those of proxies in front. */
  readonly publicUrls: readonly string[]
  /** Whose Forwarded and X-Forwarded-* fields count. */
  readonly trustedProxies: readonly Network[]
  readonly rpcbind: boolean
  /** Answers on the portmapper's port itself. */
  readonly portmap: boolean
  /** How long clients may reclaim NFS locks after a restart. */
  readonly lockGraceMs: number
  /** Groups of NFS users come from this machine, not from the client. */
  readonly manageGids: boolean
  readonly logLevel: LogLevel
  /** Absolute. */
  readonly stateDir: string
  /** Absolute. */
  readonly readyFile: string | undefined
}

/** What `overlayd status` is told. */
export interface StatusSettings {
  /** Base URL of a server; undefined: those that the state directory knows of. */
  readonly url: string | undefined
  readonly json: boolean
  readonly stateDir: string
}

/** What `overlayd remount` is told. */
export interface RemountSettings {
  /** What is to change, in the words of `-o`; the server parses it. */
  readonly options: string
  /** Where relative paths in it start. */
  readonly cwd: string
  /** Undefined: the only one. */
  readonly view: string | undefined
  readonly pid: number | undefined
  readonly stateDir: string
}

/** What a command line asks for. */
export type Command =
  | { readonly kind: 'serve'; readonly settings: Settings }
  | { readonly kind: 'status'; readonly settings: StatusSettings }
  | { readonly kind: 'remount'; readonly settings: RemountSettings }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'version' }
