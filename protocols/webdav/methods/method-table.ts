import type { MaybePromise } from '../../../overlay-core/index.ts'
import { type HTTPMethod, ResourceType } from '../http/vocabulary.ts'
import type { DavContext, ViewContext } from '../state/context.ts'
import { copy } from './copy.ts'
import { remove } from './delete.ts'
import { get } from './get.ts'
import { sendIndex } from './listing.ts'
import { lock } from './lock.ts'
import { mkcol } from './mkcol.ts'
import { move } from './move.ts'
import { options, optionsRoot } from './options.ts'
import { patch } from './partial-update.ts'
import { propfind, propfindRoot } from './propfind.ts'
import { proppatch } from './proppatch.ts'
import { put } from './put.ts'
import { restore } from './restore.ts'
import { search } from './search.ts'
import { report } from './sync-report.ts'
import { continueUpload, createUpload, isUpload, terminateUpload, uploadState } from './tus.ts'
import { unlock } from './unlock.ts'

/** A method of the registry: its handler inside a view and, if it makes sense, on `/`. */
export interface DavMethod extends HTTPMethod {
  handle(ctx: ViewContext): MaybePromise<void>
  handleRoot?(ctx: DavContext): MaybePromise<void>
  /** Whether a resource of this kind supports the method, as the Allow field says. */
  isValidFor(ctx: unknown, type?: ResourceType): boolean
  /** True for a method that changes nothing. */
  readonly safe: boolean
  /** True for a method that changes only its destination, which it checks itself. */
  readonly changesElsewhere?: true
}

const anything = () => true
const existing = (_: unknown, type?: ResourceType) => type !== ResourceType.NoResource
const freeName = (_: unknown, type?: ResourceType) => type === ResourceType.NoResource
const collection = (_: unknown, type?: ResourceType) => type === ResourceType.Directory
const notCollection = (_: unknown, type?: ResourceType) => type !== ResourceType.Directory

/** POST dispatches on header fields. */
function postAction(ctx: ViewContext): MaybePromise<void> {
  return ctx.req.headers['tus-resumable'] === undefined ? restore(ctx) : createUpload(ctx)
}

/** The methods of WebDAV classes 1, 2 and 3, by name. */
export const DAV_METHODS: Readonly<Record<string, DavMethod>> = {
  OPTIONS: { handle: options, handleRoot: optionsRoot, isValidFor: anything, safe: true },
  GET: { handle: get, handleRoot: sendIndex, isValidFor: existing, safe: true },
  HEAD: {
    handle: (ctx) => (isUpload(ctx) ? uploadState(ctx) : get(ctx)),
    handleRoot: sendIndex,
    isValidFor: existing,
    safe: true,
  },
  PROPFIND: { handle: propfind, handleRoot: propfindRoot, isValidFor: existing, safe: true },
  PROPPATCH: { handle: proppatch, isValidFor: existing, safe: false },
  PUT: { handle: put, isValidFor: notCollection, safe: false },
  PATCH: {
    handle: (ctx) => (isUpload(ctx) ? continueUpload(ctx) : patch(ctx)),
    isValidFor: notCollection,
    safe: false,
  },
  POST: { handle: postAction, isValidFor: anything, safe: false },
  DELETE: { handle: (ctx) => (isUpload(ctx) ? terminateUpload(ctx) : remove(ctx)), isValidFor: existing, safe: false },
  MKCOL: { handle: mkcol, isValidFor: freeName, safe: false },
  COPY: { handle: copy, isValidFor: existing, safe: false, changesElsewhere: true },
  MOVE: { handle: move, isValidFor: existing, safe: false },
  REPORT: { handle: report, isValidFor: collection, safe: true },
  SEARCH: { handle: search, isValidFor: existing, safe: true },
  LOCK: { handle: lock, isValidFor: anything, safe: false },
  UNLOCK: { handle: unlock, isValidFor: existing, safe: false },
}
