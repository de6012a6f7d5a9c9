import type { CacheLimits, MountOptions, QuotaLimits } from '../overlay-core/index.ts'
import type { AdminRequest } from './admin-request.ts'
import type { AdminSettings } from './admin-settings.ts'
import type { BootSettings } from './boot-settings.ts'
import type { CertRequest } from './cert-commands.ts'
import type { Environment } from './environment.ts'
import type { ConflictRule } from './file/conflict-rules.ts'
import type { FsckRequest } from './fsck-command.ts'
import type { ImageRequest } from './image-commands.ts'
import type { StackLayer } from './layer-reference.ts'
import type { LdapSettings } from './ldap-settings.ts'
import type { DnsmasqRequest, MachineRequest } from './machine-requests.ts'
import type { OidcSettings } from './oidc-settings.ts'
import type { Network } from './proxy-options.ts'
import type { ResetRules, RunRequest, SnapshotCounts, SnapshotRequest, TrashRequest } from './snapshot-settings.ts'
import type { TlsSettings } from './tls-options.ts'

/** The address of a listener. */
export interface Address {
  /** A host name or address, without brackets. */
  readonly host: string
  /** TCP port; 0 lets the system pick one. */
  readonly port: number
  /** False for a default address: the sample then uses a free port instead of giving up. */
  readonly given: boolean
  /** The descriptor of a socket that listens there already, opened by a service manager. */
  readonly socket?: number
}

/** One overlay to serve: at `/name/` over WebDAV and as the NFS export `/name`. */
export interface ViewSettings {
  readonly name: string
  /** Undefined for the sample, whose directories are in the state directory. */
  readonly mount: MountOptions | undefined
  /** Lines of exports(5) clients, as given: `CLIENT(OPTIONS) …`. */
  readonly exports: readonly string[]
  /** False when `exports` is the default. */
  readonly exportsGiven: boolean
  /** By which protocols it is served; all that have a listener when absent. */
  readonly doors?: Doors
  /** On whose behalf WebDAV acts here, in place of `as` of the settings. */
  readonly as?: Identity | undefined
  /** Its file handles are stored apart from those of other views on the same layers. */
  readonly handlesOfItsOwn?: boolean
  /** Directories of the upper to make where they are missing. */
  readonly make?: NewUpper | undefined
  /** The lowers that are layers of the layer store, by their positions in `mount.lowerdir`. */
  readonly layers?: readonly (StackLayer | undefined)[]
  /** Set if each user or machine has a view of its own. `mount` is then their stack without an upper. */
  readonly template?: TemplateSettings | undefined
}

/** How the views of users or machines are made and kept. */
export interface TemplateSettings {
  readonly kind: 'per-user' | 'per-machine'
  /** Whether a view is deleted when it is closed. */
  readonly ephemeral: boolean
  /** Absolute: contains a directory for each view, and the registry of the views unless they are ephemeral. */
  readonly directory: string
  /** Whether `directory` is in memory, at a place that every user of the machine can write to. */
  readonly inMemory: boolean
  /** The mount options of a view; `upperdir` and `workdir` are replaced for each. */
  readonly mount: MountOptions
  /** The lowers that are layers of the layer store, by their positions in `mount.lowerdir`. Versions that are not pinned are those of new views. */
  readonly layers?: readonly (StackLayer | undefined)[]
  /** Who owns all views; undefined: the user of each view, or for machines the owner of the topmost layer. */
  readonly owner: Identity | undefined
  /** Whether the first request for a view makes it. */
  readonly create: boolean
  /** How long a view stays open without use. */
  readonly idleMs: number
  readonly maxViews: number
  /** The number of frozen layers above which those of a view are merged in the background; undefined: never. */
  readonly squashAbove?: number | undefined
  /** Who may use the views of others; login names, or `@GROUP`. */
  readonly owners: readonly string[]
  /** The limits of each view; undefined: none. */
  readonly quota: QuotaLimits | undefined
  /** Who applies them. */
  readonly quotaBy: 'server' | 'filesystem'
  /** Whether machines boot from it: then their views are named by the list of machines instead of by addresses. */
  readonly boots?: boolean
  /** What happens where a user and a new version of a layer have both changed something; the first rule that matches counts. */
  readonly conflicts?: readonly ConflictRule[]
  /** What a reset of a whole view does not take back; undefined: it takes everything back. */
  readonly resetRules?: ResetRules | undefined
  /** Which snapshots are taken by themselves; undefined: none. */
  readonly schedule?: SnapshotCounts | undefined
  /** How long removed views and snapshots can be restored; 0 or undefined: not at all. */
  readonly trashMs?: number | undefined
}

/** A user and a group. */
export interface Identity {
  readonly uid: number
  readonly gid: number
}

export interface Doors {
  readonly webdav: boolean
  readonly nfs: boolean
}

/** An upper that is made when it is missing. */
export interface NewUpper {
  /** Whose the root of the upper becomes; undefined: as the root of the topmost layer. */
  readonly owner: Identity | undefined
}

export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export const LOCK_POLICIES = ['advisory', 'mandatory'] as const
export type LockPolicy = (typeof LOCK_POLICIES)[number]

export const SYMLINK_POLICIES = ['follow', 'hide', 'refuse'] as const
export type SymlinkPolicy = (typeof SYMLINK_POLICIES)[number]

/** How much all views and clients together may use; what is undefined has its default. */
export interface Limits extends CacheLimits {
  /** Open views of templates. */
  readonly openViews?: number | undefined
  readonly httpConnections?: number | undefined
  readonly nfsConnections?: number | undefined
}

/** All settings of a server. */
export interface Settings {
  /** One from the command line, any number from a configuration file. */
  readonly views: readonly ViewSettings[]
  /** Undefined: switched off. At least one listener is on. */
  readonly webdav: Address | undefined
  readonly nfs: Address | undefined
  /** The user that WebDAV acts as. Undefined: the server's own user, or nobody if that is root. */
  readonly as: Identity | undefined
  /** Who must respect WebDAV locks: only WebDAV clients, or clients of other protocols too. */
  readonly locks: LockPolicy
  /** What WebDAV clients see of symlinks. */
  readonly symlinks: SymlinkPolicy
  /** Whether PROPFIND on a whole tree is allowed. */
  readonly depthInfinity: boolean
  readonly insecureNoAuth: boolean
  /** Undefined: there is no login. */
  readonly login?: LoginSettings | undefined
  /** Origins at which clients reach the server through proxies, in addition to its own address. */
  readonly publicUrls: readonly string[]
  /** The proxies whose Forwarded and X-Forwarded-* fields are trusted. */
  readonly trustedProxies: readonly Network[]
  /** Undefined: nothing is encrypted. */
  readonly tls: TlsSettings | undefined
  readonly rpcbind: boolean
  /** Whether the server answers on the portmapper's port itself. */
  readonly portmap: boolean
  /** How long clients may reclaim NFS locks after a restart. */
  readonly lockGraceMs: number
  /** Whether groups of NFS users come from this machine instead of the client. */
  readonly manageGids: boolean
  readonly logLevel: LogLevel
  /** What each user may use in all their views together; undefined: no limit. */
  readonly userQuota?: QuotaLimits | undefined
  readonly limits?: Limits | undefined
  /** Undefined: no machine boots from this server. */
  readonly boot?: BootSettings | undefined
  /** Where metrics are served; undefined: only on the admin socket. */
  readonly metrics?: Address | undefined
  /** Undefined: administrators have only the socket in the state directory. */
  readonly admin?: AdminSettings | undefined
  /** Absolute. */
  readonly stateDir: string
  /** The directory of the layer store. Absolute; undefined where there is no configuration file. */
  readonly layerDirectory?: string
  /** Absolute. */
  readonly readyFile: string | undefined
  /** The configuration file that all this comes from. Absolute. */
  readonly configFile?: string
}

/** The words of `login.sources`. */
export const LOGIN_SOURCES = ['file', 'ldap', 'oidc', 'proxy'] as const
export type LoginSource = (typeof LOGIN_SOURCES)[number]

/** Where the user id of an account comes from: the name service of the machine, or a range. */
export type IdSource = 'system' | { readonly first: number; readonly last: number }

/** Who may log in, and what they may do. */
export interface LoginSettings {
  /** In the order in which they are asked. */
  readonly sources: readonly LoginSource[]
  /** Absolute. */
  readonly passwordFile: string | undefined
  /** Undefined without the source `ldap`. */
  readonly ldap: LdapSettings | undefined
  /** Undefined without the source `oidc`. */
  readonly oidc: OidcSettings | undefined
  /** The name that browsers show when they ask for a password. */
  readonly realm: string
  readonly ids: readonly IdSource[]
  /** Login names, or `@GROUP`. */
  readonly admins: readonly string[]
  readonly readers: readonly string[]
  /** The field in which a trusted proxy names the user, in lower case. */
  readonly userHeader: string
  /** The file for lines about logins. Absolute. */
  readonly auditFile: string | undefined
}

/** The settings of `overlayd status`. */
export interface StatusSettings {
  /** The base URL of a server. Undefined: all servers listed in the state directory. */
  readonly url: string | undefined
  readonly json: boolean
  readonly stateDir: string
}

/** The settings of `overlayd remount`. */
export interface RemountSettings {
  /** The options to change, in the syntax of `-o`; the server parses them. */
  readonly options: string
  /** The directory in which relative paths in `options` start. */
  readonly cwd: string
  /** Undefined: the only one. */
  readonly view: string | undefined
  readonly pid: number | undefined
  readonly stateDir: string
}

/** A configuration file, and what counts before what it says. */
export interface ConfigRequest {
  /** The file as it was named. */
  readonly name: string
  /** Absolute. */
  readonly path: string
  /** Options of the command line, cut and not yet understood. */
  readonly overrides: ReadonlyMap<string, readonly string[]>
  readonly environment: Environment
}

/** What `overlayd config print` is told. Without a file the defaults are printed. */
export interface PrintRequest extends Pick<ConfigRequest, 'overrides' | 'environment'> {
  readonly config: ConfigRequest | undefined
  readonly json: boolean
}

/** What `overlayd init` is told. */
export interface InitRequest {
  /** The directory as it was named. */
  readonly name: string
  /** Absolute. */
  readonly path: string
}

/** What `overlayd reload` is told. */
export interface ReloadRequest {
  readonly pid: number | undefined
  readonly stateDir: string
}

/** What `overlayd view` is told. */
export interface ViewRequest {
  readonly verb: 'create' | 'list' | 'show' | 'rename' | 'remove'
  /** `TEMPLATE/NAME`; for `list` a template, or undefined for all. */
  readonly view: string | undefined
  /** The new name, for `rename`. */
  readonly to: string | undefined
  /** Whether nothing is asked. */
  readonly yes: boolean
  readonly json: boolean
  readonly pid: number | undefined
  readonly stateDir: string
}

/** What `overlayd diff` is told. */
export interface DiffRequest {
  /** `TEMPLATE/NAME`, or the name of a view that all share. */
  readonly view: string
  /** Only what is at these paths, or below them; everything if there are none. */
  readonly paths: readonly string[]
  readonly against: string | undefined
  readonly form: 'short' | 'stat' | 'name-only' | 'patch' | 'json'
  /** Whether objects that equal those below are printed too. */
  readonly all: boolean
  readonly pid: number | undefined
  readonly stateDir: string
}

/** What `overlayd rebase` and `conflicts` are told. */
export interface RebaseRequest {
  readonly verb: 'rebase' | 'conflicts'
  /** `TEMPLATE/NAME`; for `rebase` also `TEMPLATE`, for all of its views. */
  readonly views: readonly string[]
  readonly dryRun: boolean
  readonly atNextOpen: boolean
  /** Whether all conflicts are printed. */
  readonly all: boolean
  readonly yes: boolean
  readonly json: boolean
  readonly pid: number | undefined
  readonly stateDir: string
}

/** What `overlayd layer`, `import`, `commit`, `promote` and `export` shall do. Paths are absolute. */
export type LayerWork =
  | {
      readonly verb: 'add' | 'publish' | 'import'
      readonly layer: string
      readonly from: string
      readonly version?: string
      readonly whiteoutFiles?: boolean
    }
  | { readonly verb: 'list'; readonly layer?: string }
  | { readonly verb: 'show'; readonly layer: string }
  | { readonly verb: 'remove'; readonly layer: string; readonly yes: boolean }
  | { readonly verb: 'gc'; readonly dryRun: boolean }
  | {
      readonly verb: 'commit' | 'promote'
      readonly view: string
      /** `LAYER` or `LAYER:VERSION`. */
      readonly to: string
      readonly paths?: readonly string[]
      readonly dryRun: boolean
    }
  | {
      readonly verb: 'export'
      readonly what: string
      readonly format: 'oci-layer' | 'oci-archive' | 'tar' | 'overlay-dir'
      readonly to: string
    }

/** What `overlayd layer` and the commands beside it are told. */
export interface LayerRequest extends ReloadRequest {
  readonly work: LayerWork
  readonly json: boolean
  /** Says where the layer store is, if no server runs. */
  readonly config: ConfigRequest | undefined
  /** The layer store, if no server runs; absolute. */
  readonly store: string | undefined
}

/** What `overlayd user` is told. */
export interface UserRequest {
  readonly verb: 'add' | 'passwd' | 'remove' | 'list'
  /** Empty for `list`. */
  readonly name: string
  /** The password file; absolute. Undefined: that of `config`. */
  readonly file: string | undefined
  readonly config: ConfigRequest | undefined
  readonly json: boolean
}

/** What `overlayd token` is told. */
export interface TokenRequest extends ReloadRequest {
  readonly verb: 'make' | 'list' | 'revoke'
  readonly user: string | undefined
  readonly name: string | undefined
  readonly view: string | undefined
  readonly path: string | undefined
  readonly mode: string | undefined
  readonly kind: 'app' | 'link'
  /** Whether a password for the link is asked for. */
  readonly askPassword: boolean
  readonly seconds: number | undefined
  readonly id: string | undefined
  readonly json: boolean
}

/** The command that a command line requests. */
export type Command =
  | { readonly kind: 'serve'; readonly settings: Settings }
  | { readonly kind: 'serve-config'; readonly config: ConfigRequest }
  | { readonly kind: 'config-check'; readonly config: ConfigRequest }
  | { readonly kind: 'config-print'; readonly print: PrintRequest }
  | { readonly kind: 'init'; readonly init: InitRequest }
  | { readonly kind: 'reload'; readonly reload: ReloadRequest }
  | { readonly kind: 'view'; readonly view: ViewRequest }
  | { readonly kind: 'diff'; readonly diff: DiffRequest }
  | { readonly kind: 'snapshot'; readonly snapshot: SnapshotRequest }
  | { readonly kind: 'run'; readonly run: RunRequest }
  | { readonly kind: 'layer'; readonly layer: LayerRequest }
  | { readonly kind: 'rebase'; readonly rebase: RebaseRequest }
  | { readonly kind: 'fsck'; readonly fsck: FsckRequest }
  | { readonly kind: 'trash'; readonly trash: TrashRequest }
  | { readonly kind: 'user'; readonly user: UserRequest }
  | { readonly kind: 'token'; readonly token: TokenRequest }
  | { readonly kind: 'image'; readonly image: ImageRequest }
  | { readonly kind: 'machine'; readonly machine: MachineRequest }
  | { readonly kind: 'boot-dnsmasq'; readonly boot: DnsmasqRequest }
  | { readonly kind: 'admin'; readonly admin: AdminRequest }
  | { readonly kind: 'cert'; readonly cert: CertRequest }
  | { readonly kind: 'status'; readonly settings: StatusSettings }
  | { readonly kind: 'remount'; readonly settings: RemountSettings }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'version' }
