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

/** What all requests share. */
export interface DavServices {
  /** By name, as bytes. */
  readonly views: ReadonlyMap<string, DavView>
  readonly log: Logger
  readonly now: () => number
  /** The clock that locks live by, ms. */
  readonly lockNow: () => number
  readonly randomUUID: () => string
  readonly limits: DavLimits
  readonly locks: LockStore
  readonly buffers: BufferPool
  readonly contents: ContentCache
  /** Uploads that may be taken up again. */
  readonly uploads: UploadStore
  /** What sync tokens stand for. */
  readonly syncs: SyncStore
  readonly checksums: Checksums
  /** Whether the host of a URL, with its port, is this server under another name than that in Host. */
  readonly isOurs: (authority: string, req: IncomingMessage) => boolean
  /** PROPFIND with Depth infinity is answered. */
  readonly depthInfinity: boolean
  readonly counters: Counters
  /** Changes of dead properties, one at a time per object. */
  readonly properties: KeyedQueue
  /** The Allow field for a kind of resource, for `/`, or for any (undefined). */
  readonly allowed: (kind: ResourceType | 'root' | undefined, readOnly: boolean) => string
}

/** One request: what was asked, where, and what to answer it with. */
export class DavContext {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly services: DavServices
  /** Undefined at `/`, above all views. */
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

/** Refuses a method that a resource of this kind does not take (RFC 9110 section 15.5.6). */
export function methodNotAllowed(ctx: DavContext, kind: ResourceType, message: string): DavError {
  const allow = ctx.services.allowed(kind, ctx.view?.overlay.readOnly ?? false)
  return new DavError(405, message, { headers: ['Allow', allow] })
}

/** A context inside a view: what every method but those on `/` gets. */
export type ViewContext = DavContext & { readonly view: DavView }
