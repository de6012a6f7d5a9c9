import type { IncomingMessage } from 'node:http'
import type { ChangeGuard, Cred, Overlay } from '../../../overlay-core/index.ts'

/** One overlay served at `/name/`, and the user on whose behalf every request on it acts. */
export interface DavViewSettings {
  /** One path segment, as Unicode text. */
  readonly name: string
  readonly overlay: Overlay
  readonly cred: Cred
  /** How symlinks are shown; `follow` when absent. */
  readonly symlinks?: SymlinkPolicy
}

/** What clients see of a symlink: what it leads to inside the view, nothing at all, or a resource that is refused. */
export type SymlinkPolicy = 'follow' | 'hide' | 'refuse'

/** What the adapter writes to: the shape of a pino logger. */
export interface Logger {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

/** Bounds on what one client, or all of them together, may ask for. */
export interface DavLimits {
  /** Body of PROPFIND, LOCK and of a COPY or MOVE, bytes. */
  readonly xmlBytes: number
  /** Body of PROPPATCH, bytes. */
  readonly proppatchBytes: number
  /** Dead properties of one resource, bytes as kept. */
  readonly propertyBytes: number
  /** Nesting of XML elements. */
  readonly xmlDepth: number
  /** XML elements and attributes in one body. */
  readonly xmlElements: number
  /** Ranges in one GET; a request with more gets the whole file, as RFC 9110 section 14.2 allows. */
  readonly ranges: number
  /** Locks held at a time, of all views. */
  readonly locks: number
  /** Locks of one user held at a time. */
  readonly locksPerUser: number
  /** Shared locks that cover one resource at a time: each shows in its `lockdiscovery`. */
  readonly locksPerResource: number
  /** The XML inside `DAV:owner`, bytes. */
  readonly ownerBytes: number
  /** The longest life of a lock between refreshes, seconds; also what a client gets that names none. */
  readonly lockSeconds: number
  /** A connection that neither sends nor takes a byte for this long in the middle of a request is closed, ms. */
  readonly idleMs: number
  /** A body that brings fewer bytes than this in `idleMs` is cut off. */
  readonly paceBytes: number
  /** Failed members named in one multistatus answer; the rest is counted only. */
  readonly reportedFailures: number
  /** The HTML listing of a collection with up to so many members is in order; a larger one is sent as the directory gives it. */
  readonly sortedMembers: number
  /** Content of small files kept in memory, bytes, of all views. */
  readonly contentBytes: number
  /** Resumable uploads under way at a time. */
  readonly uploads: number
  /** The checksum of a larger file is not computed when a client asks for it, bytes. */
  readonly checksumBytes: number
  /** A checksum that takes longer is given up, ms. */
  readonly checksumMs: number
  /** How long a resumable upload may rest, seconds. */
  readonly uploadSeconds: number
  /** Members of collections that are remembered for sync tokens, of all tokens. */
  readonly syncMembers: number
  /** Matches of one SEARCH. */
  readonly searchResults: number
  /** Members that one SEARCH looks at. */
  readonly searchedMembers: number
}

/** The limits in force where the caller names none. */
export const DEFAULT_LIMITS: DavLimits = {
  xmlBytes: 64 * 1024,
  proppatchBytes: 1024 * 1024,
  propertyBytes: 64 * 1024,
  xmlDepth: 32,
  xmlElements: 1000,
  ranges: 16,
  locks: 40_000,
  locksPerUser: 10_000,
  locksPerResource: 100,
  ownerBytes: 4096,
  lockSeconds: 3600,
  idleMs: 120_000,
  paceBytes: 64 * 1024,
  reportedFailures: 1000,
  sortedMembers: 10_000,
  contentBytes: 64 * 1024 * 1024,
  uploads: 100,
  checksumBytes: 64 * 2 ** 30,
  checksumMs: 300_000,
  uploadSeconds: 24 * 3600,
  syncMembers: 200_000,
  searchResults: 1000,
  searchedMembers: 1_000_000,
}

/**
 * A text file of whole lines that survives the process: where locks are kept. Whoever makes it owns the disk; both calls resolve
 * when the text would survive a power cut, and reject when it may not.
 */
export interface Journal {
  /** What the file held when it was opened, oldest first. */
  readonly lines: readonly string[]
  /** Adds whole lines at the end. */
  append(text: string): Promise<void>
  /** Puts `pieces`, whole lines, in the place of all that is there, in one step. */
  replace(pieces: AsyncIterable<string>): Promise<void>
}

/** The clock that locks live by: nobody sets it, and it goes on from run to run of the server until the machine boots again. */
export interface LockClock {
  /** Milliseconds since some moment before. */
  readonly now: () => number
  /** Which boot of which machine it counts in; undefined where it means nothing to another run. */
  readonly boot: string | undefined
}

/** What `registerWebDav` needs. */
export interface DavOptions {
  readonly views: readonly DavViewSettings[]
  readonly log: Logger
  /** Milliseconds since the epoch; the system clock when absent. */
  readonly now?: () => number
  /** What locks live by; a clock of this boot that nobody sets when absent, or `now` where that is handed in. */
  readonly lockClock?: LockClock
  /** Random UUIDs for lock tokens; `node:crypto` when absent. */
  readonly randomUUID?: () => string
  /** Where locks outlive the process, by the name of the view; without one they end with it. */
  readonly lockJournals?: ReadonlyMap<string, Journal>
  readonly limits?: Partial<DavLimits>
  /** Whether the host of a URL, with its port, is this server under another name than that in Host; never when absent. */
  readonly isOurs?: (authority: string, req: IncomingMessage) => boolean
  /** Answers PROPFIND with Depth infinity; false when absent, as one request then reads a whole tree. */
  readonly depthInfinity?: boolean
}

/** What `registerWebDav` returns. */
export interface DavHandle {
  /** Running totals by name: `requests`, `status2xx`…, `abortedUploads`, `abortedDownloads`, `faults`… */
  readonly counters: Readonly<Record<string, number>>
  /** Tells other protocols which places of a view are locked, for views with mandatory locks. @throws TypeError no such view */
  changeGuard(view: string): ChangeGuard
  /** Turns new requests away (503) and resolves when the running ones have ended. */
  close(): Promise<void>
}
