import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Cred, Name } from '../../../overlay-core/index.ts'
import type { Caller } from '../api/caller.ts'
import type { DavClient, DavLimits, DavOptions, DavTemplate, DavUse, DavViewSettings, Logger } from '../api/settings.ts'
import { DavError } from '../http/dav-error.ts'
import type { PageAccount } from '../http/page-frame.ts'
import type { DavPath } from '../http/path.ts'
import type { ResourceType } from '../http/vocabulary.ts'
import type { Holder } from '../locks/holder.ts'
import type { LockStore } from '../locks/lock-store.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { Checksums } from './checksums.ts'
import type { ContentCache } from './content-cache.ts'
import type { Counters } from './counters.ts'
import type { KeyedQueue } from './keyed-queue.ts'
import type { ServedView } from './served-view.ts'
import type { SyncStore } from './sync-store.ts'
import type { UploadStore } from './upload-store.ts'

/** A view as the caller of a request sees it. */
export interface DavView extends Omit<DavViewSettings, 'as'> {
  /** Identifies it among all views: what is kept for it beyond a request goes by this. */
  readonly id: string
  /** `/NAME/`, percent-encoded. */
  readonly root: string
  /** Whom the caller acts as in this view. */
  readonly cred: Cred
  /** Whose the locks are that the caller takes. */
  readonly holder: Holder
  /** The only part of the view that the caller may reach, with symlinks resolved; empty: all of it. */
  readonly within: readonly Name[]
  /** How many names of a path are not part of URLs, because `root` stands for them. */
  readonly hidden: number
}

/** Services shared by all requests. */
export interface DavServices {
  /** By name, as bytes. */
  readonly views: ReadonlyMap<string, ServedView>
  /** By name, as bytes. */
  readonly templates: ReadonlyMap<string, DavTemplate>
  readonly log: Logger
  readonly callerOf: (req: IncomingMessage) => Caller
  /** What pages for browsers show of the login of a request. */
  readonly accountOf: (req: IncomingMessage) => PageAccount | undefined
  readonly machineOf: ((req: IncomingMessage) => string) | undefined
  readonly seen: DavOptions['seen']
  readonly now: () => number
  /** The clock for lock expiry, in ms. */
  readonly lockNow: () => number
  /** Milliseconds and parts of them, on a clock that nobody sets. */
  readonly fineNow: () => number
  readonly randomUUID: () => string
  readonly limits: DavLimits
  readonly locks: LockStore
  readonly buffers: BufferPool
  readonly contents: ContentCache
  /** Resumable uploads. */
  readonly uploads: UploadStore
  /** The collection states of sync tokens. */
  readonly syncs: SyncStore
  readonly checksums: Checksums
  /** Whether a host and port, other than that in Host, is a name of this server. */
  readonly isOurs: (authority: string, req: IncomingMessage) => boolean
  /** Whether PROPFIND with Depth infinity is allowed. */
  readonly depthInfinity: boolean
  readonly counters: Counters
  /** Serializes changes of dead properties per object. */
  readonly properties: KeyedQueue
  /** The Allow field for a kind of resource, for `/`, or for any (undefined). */
  readonly allowed: (kind: ResourceType | 'root' | undefined, readOnly: boolean) => string
}

/** One request: what was requested, where, and the response. */
export class DavContext implements DavClient {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly services: DavServices
  readonly caller: Caller
  /** Undefined for `/`, which is above all views. */
  readonly view: DavView | undefined
  /** Inside the view. */
  readonly path: DavPath
  /** The template of the view, or whose list of views was requested. */
  readonly template: DavTemplate | undefined
  /** The use of a view of a template, which ends with the request. */
  readonly use: DavUse | undefined
  /** Another view of a template, to which Destination leads; in use until the request ends. */
  other: { readonly use: DavUse; readonly view: DavView } | undefined

  constructor(
    req: IncomingMessage,
    res: ServerResponse,
    services: DavServices,
    caller: Caller,
    view: DavView | undefined,
    path: DavPath,
    { template, use }: { template?: DavTemplate; use?: DavUse } = {},
  ) {
    this.req = req
    this.res = res
    this.services = services
    this.caller = caller
    this.view = view
    this.path = path
    this.template = template
    this.use = use
  }

  /** Whom the caller acts as: in a view possibly somebody else. */
  get cred(): Cred {
    return this.view?.cred ?? this.caller
  }

  /** Whether the caller may change nothing here. */
  get readOnly(): boolean {
    return this.caller.readOnly || this.use?.readOnly === true
  }

  /** The address of the client; empty if a proxy sent the request, because then it is not known for certain. */
  get address(): string {
    const { forwarded, via } = this.req.headers
    const proxied = forwarded ?? via ?? this.req.headers['x-forwarded-for'] ?? this.req.headers['x-forwarded-host']
    return proxied === undefined ? (this.req.socket.remoteAddress ?? '') : ''
  }

  get named(): string | undefined {
    return this.use?.named
  }

  /** The address of the client's machine; empty if it is not known for certain. */
  get machine(): string {
    const { machineOf } = this.services
    return machineOf === undefined ? this.address : machineOf(this.req)
  }
}

/** The error for a method that a resource of this kind does not support (RFC 9110 section 15.5.6). */
export function methodNotAllowed(ctx: DavContext, kind: ResourceType, message: string): DavError {
  const allow = ctx.services.allowed(kind, ctx.view?.overlay.readOnly ?? false)
  return new DavError(405, message, { headers: ['Allow', allow] })
}

/** A context inside a view, which every method gets except those on `/`. */
export type ViewContext = DavContext & { readonly view: DavView }
