import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DavLimits, DavViewSettings, Logger } from '../api/settings.ts'
import { DavError } from '../http/dav-error.ts'
import type { DavPath } from '../http/path.ts'
import type { ResourceType } from '../http/vocabulary.ts'
import type { LockStore } from '../locks/lock-store.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { Checksums } from './checksums.ts'
import type { ContentCache } from './content-cache.ts'
import type { Counters } from './counters.ts'
import type { KeyedQueue } from './keyed-queue.ts'
import type { SyncStore } from './sync-store.ts'
import type { UploadStore } from './upload-store.ts'

/** A view with the encoded path under which it is served. */
export interface DavView extends DavViewSettings {
  /** `/NAME/`, percent-encoded. */
  readonly root: string
}

/** Services shared by all requests. */
export interface DavServices {
  /** By name, as bytes. */
  readonly views: ReadonlyMap<string, DavView>
  readonly log: Logger
  readonly now: () => number
  /** The clock for lock expiry, in ms. */
  readonly lockNow: () => number
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
export class DavContext {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly services: DavServices
  /** Undefined for `/`, which is above all views. */
  readonly view: DavView | undefined
  /** Inside the view. */
  readonly path: DavPath

  constructor(
    req: IncomingMessage,
    res: ServerResponse,
    services: DavServices,
    view: DavView | undefined,
    path: DavPath,
  ) {
    this.req = req
    this.res = res
    this.services = services
    this.view = view
    this.path = path
  }
}

/** The error for a method that a resource of this kind does not support (RFC 9110 section 15.5.6). */
export function methodNotAllowed(ctx: DavContext, kind: ResourceType, message: string): DavError {
  const allow = ctx.services.allowed(kind, ctx.view?.overlay.readOnly ?? false)
  return new DavError(405, message, { headers: ['Allow', allow] })
}

/** A context inside a view, which every method gets except those on `/`. */
export type ViewContext = DavContext & { readonly view: DavView }
