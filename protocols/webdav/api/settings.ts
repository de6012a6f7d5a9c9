import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ChangeGuard, Cred, Journal, Latencies, MaybePromise, Name, Overlay } from '../../../overlay-core/index.ts'
import type { PageAccount } from '../http/page-frame.ts'
import type { Caller } from './caller.ts'

/** An overlay served at `/name/`. */
export interface DavViewSettings {
  /** One path segment, as Unicode text. */
  readonly name: string
  readonly overlay: Overlay
  /** Whom all callers act as here; by default each acts as itself. */
  readonly as?: Cred | undefined
  /** How symlinks are shown; `follow` by default. */
  readonly symlinks?: SymlinkPolicy
}

/** A view of a template while it is open. */
export interface DavMember extends Omit<DavViewSettings, 'name'> {
  /** Its name, as Unicode text. */
  readonly name: string
  /** Identifies it among all views, also after it was closed, renamed, or removed and made again. Contains no `/`. */
  readonly id: string
}

/** Where a path leads: to a view of a template, of which `used` names of the path are the way. */
export interface DavWay {
  readonly id: string
  readonly used: number
}

/** A view in use, until `release` is called. */
export interface DavUse extends DavWay {
  readonly member: DavMember
  /** Whether the client may change nothing in it. */
  readonly readOnly: boolean
  /** Whether the client may end the locks of others in it. */
  readonly endsLocks?: boolean
  /** The user as whom the request acts because its path names it. */
  readonly named?: string | undefined
  release(): void
}

/** The sender of a request. */
export interface DavClient {
  readonly caller: Caller
  /** Its address; empty if a proxy sent the request, because then it is not known for certain. */
  readonly address: string
  /** The address of its machine, which a trusted proxy may report; empty if it is not known for certain. */
  readonly machine: string
  /** The user as whom the request acts because its path names it; it reaches the views of no other user. */
  readonly named: string | undefined
}

/** A template: many views below one name, of which each client reaches its own. The server implements it. */
export interface DavTemplate {
  /** One path segment, as Unicode text. */
  readonly name: string
  /** Where the names below the template lead for this client; undefined if that is no view that it may use. Makes and opens nothing. */
  way(names: readonly Name[], client: DavClient): DavWay | undefined
  /** Opens the view to which the names lead, and makes it if the template allows that. @throws OverlayError it cannot be made or opened */
  use(names: readonly Name[], client: DavClient): MaybePromise<DavUse | undefined>
  /** The path segments that lead to the views that this client may name, as Unicode text; undefined if it may name none. */
  list(client: DavClient): readonly string[] | undefined
}

/** What clients see of a symlink: its target inside the view, nothing, or a resource that is refused. */
export type SymlinkPolicy = 'follow' | 'hide' | 'refuse'

/** The logger of the adapter, compatible with pino. */
export interface Logger {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

/** Limits on the requests of one client, or of all clients together. */
export interface DavLimits {
  /** Maximum body of PROPFIND, LOCK, COPY and MOVE, in bytes. */
  readonly xmlBytes: number
  /** Maximum body of PROPPATCH, in bytes. */
  readonly proppatchBytes: number
  /** Maximum stored size of the dead properties of one resource, in bytes. */
  readonly propertyBytes: number
  /** Maximum nesting of XML elements. */
  readonly xmlDepth: number
  /** Maximum number of XML elements and attributes in one body. */
  readonly xmlElements: number
  /** Maximum number of ranges in one GET; a request with more gets the whole file, as RFC 9110 section 14.2 allows. */
  readonly ranges: number
  /** Maximum number of locks in all views. */
  readonly locks: number
  /** Maximum number of locks of one user. */
  readonly locksPerUser: number
  /** Maximum memory of the locks in all views, and of those of one user, in bytes. */
  readonly lockBytes: number
  readonly lockBytesPerUser: number
  /** Maximum number of shared locks that cover one resource, because its `lockdiscovery` lists each of them. */
  readonly locksPerResource: number
  /** Maximum size of the XML inside `DAV:owner`, in bytes. */
  readonly ownerBytes: number
  /** Maximum and default lifetime of a lock between refreshes, in seconds. */
  readonly lockSeconds: number
  /** A connection that neither sends nor reads a byte for this long during a request is closed, in ms. */
  readonly idleMs: number
  /** A request whose body sends fewer bytes than this in `idleMs` is aborted. */
  readonly paceBytes: number
  /** Maximum number of failed members listed in one multistatus response; the rest is only counted. */
  readonly reportedFailures: number
  /** The HTML listing of a collection with up to this many members is sorted; a larger one is sent in directory order. */
  readonly sortedMembers: number
  /** Maximum cached content of small files in all views, in bytes. */
  readonly contentBytes: number
  /** Maximum number of resumable uploads in progress. One address has half of them at most, and one user in one view a quarter. */
  readonly uploads: number
  /** Checksums of files larger than this are not computed on request, in bytes. */
  readonly checksumBytes: number
  /** A checksum that takes longer than this is abandoned, in ms. */
  readonly checksumMs: number
  /** How long a resumable upload is kept without activity, in seconds. */
  readonly uploadSeconds: number
  /** Maximum memory of the collection states stored for all sync tokens. */
  readonly syncBytes: number
  /** Maximum number of matches of one SEARCH. */
  readonly searchResults: number
  /** Maximum number of members that one SEARCH examines. */
  readonly searchedMembers: number
}

/** The default limits. */
export const DEFAULT_LIMITS: DavLimits = {
  xmlBytes: 64 * 1024,
  proppatchBytes: 1024 * 1024,
  propertyBytes: 64 * 1024,
  xmlDepth: 32,
  xmlElements: 1000,
  ranges: 16,
  locks: 40_000,
  locksPerUser: 10_000,
  lockBytes: 48 * 1024 * 1024,
  lockBytesPerUser: 16 * 1024 * 1024,
  locksPerResource: 100,
  ownerBytes: 4096,
  lockSeconds: 3600,
  idleMs: 120_000,
  paceBytes: 64 * 1024,
  reportedFailures: 1000,
  sortedMembers: 10_000,
  contentBytes: 64 * 1024 * 1024,
  uploads: 200,
  checksumBytes: 64 * 2 ** 30,
  checksumMs: 300_000,
  uploadSeconds: 24 * 3600,
  syncBytes: 48 * 1024 * 1024,
  searchResults: 1000,
  searchedMembers: 1_000_000,
}

/** The clock for lock expiry. It is monotonic and continues across runs of the server until the machine reboots. */
export interface LockClock {
  /** Milliseconds since an arbitrary moment in the past. */
  readonly now: () => number
  /** The boot of the machine in which the clock counts; undefined if its values mean nothing to another run. */
  readonly boot: string | undefined
}

/** The options of `registerWebDav`. */
export interface DavOptions {
  readonly views: readonly DavViewSettings[]
  readonly templates?: readonly DavTemplate[]
  readonly log: Logger
  /** Who sent a request; by default the user nobody. */
  readonly callerOf?: (req: IncomingMessage) => Caller
  /** What pages for browsers show of the login of a request; by default nothing. */
  readonly accountOf?: ((req: IncomingMessage) => PageAccount | undefined) | undefined
  /** The address of the machine that sent a request, empty if it is not known for certain; by default that of the connection without proxies. */
  readonly machineOf?: (req: IncomingMessage) => string
  /** Told of each request in a view, before it is answered, and as whom it acts there. `view` is the name of a view, or `TEMPLATE/NAME`. */
  readonly seen?:
    | ((
        req: IncomingMessage,
        actor: { readonly user: number; readonly login?: string | undefined },
        view: string,
      ) => void)
    | undefined
  /** Milliseconds since the epoch; the system clock by default. */
  readonly now?: () => number
  /** The clock for lock expiry; by default the monotonic clock of this boot, or `now` if given. */
  readonly lockClock?: LockClock
  /** Random UUIDs for lock tokens; `node:crypto` by default. */
  readonly randomUUID?: () => string
  /** The lock journal of each view, by name. Without one, locks end with the process. */
  readonly lockJournals?: ReadonlyMap<string, Journal>
  /** The lock journal of all views of templates. */
  readonly memberLocks?: Journal | undefined
  readonly limits?: Partial<DavLimits>
  /** Whether a host and port, other than that in Host, is a name of this server. Never by default. */
  readonly isOurs?: (authority: string, req: IncomingMessage) => boolean
  /** Allows PROPFIND with Depth infinity. False by default, because a single request reads a whole tree. */
  readonly depthInfinity?: boolean
}

/** A lock as administrators see it. */
export interface DavLock {
  /** A URI that names it. */
  readonly token: string
  /** The name of a view that all clients share, or the id of a view of a template. */
  readonly view: string
  /** From the root of the view, as Unicode text. */
  readonly path: string
  /** Who took it: a user id, and the login name if there is one. */
  readonly user: number
  readonly login: string | undefined
  readonly exclusive: boolean
  readonly deep: boolean
  /** How long it lasts unless it is refreshed, in ms. */
  readonly endsInMs: number
}

/** The result of `registerWebDav`. */
export interface DavHandle {
  /** Totals by name: `requests`, `status2xx`…, `abortedUploads`, `abortedDownloads`, `faults`… */
  readonly counters: Readonly<Record<string, number>>
  /** How long requests have taken, by method: from their header until they are answered. */
  readonly latencies: ReadonlyMap<string, Latencies>
  /** The number of requests that are being answered. */
  running(): number
  /** The cache of small files: its size in bytes, and how often a file was found in it or not. */
  readonly cache: { readonly size: number; readonly hits: number; readonly misses: number }
  /** Whether the routes that `registerWebDav` has added would pass this request to `execute`. */
  handles(req: IncomingMessage): boolean
  /** Answers a request without the router and hooks of Fastify. */
  execute(req: IncomingMessage, res: ServerResponse): void
  /** A guard that tells other protocols which paths of a view are locked, for mandatory locks. `view`: its name, or the id of a view of a template. */
  changeGuard(view: string): ChangeGuard
  /** Serves one more view, with the locks in its journal, or replaces the view of this name. @throws TypeError the name is invalid */
  serve(view: DavViewSettings, lockJournal?: Journal): void
  /** Serves one more template, or replaces the one of this name. */
  serveTemplate(template: DavTemplate): void
  /** Stops serving the view or template with this name. Resolves when its lock journal may be closed. */
  end(name: string): Promise<void>
  /** Lets go of a view of a template that nobody uses, before it is closed. Its uploads and locks stay. */
  closing(id: string): Promise<void>
  /** Ends the locks of a view that was removed. */
  removed(id: string): Promise<void>
  /** The locks in force. */
  locks(): readonly DavLock[]
  /** Ends a lock; its client is not told, as it cannot be. False if there is none with this token. */
  endLock(token: string): Promise<boolean>
  /** Refuses new requests (503) and resolves when the running ones have ended. */
  close(): Promise<void>
}
