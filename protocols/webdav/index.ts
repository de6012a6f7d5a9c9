/** The WebDAV adapter: classes 1, 2 and 3 of RFC 4918 for the overlays of one process, on Fastify. */
import { randomUUID } from 'node:crypto'
import { type IncomingMessage, METHODS, type ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import type { ChangeGuard } from '../../overlay-core/index.ts'
import { NOBODY } from './api/caller.ts'
import {
  type DavHandle,
  type DavOptions,
  type DavTemplate,
  type DavViewSettings,
  DEFAULT_LIMITS,
} from './api/settings.ts'
import { DavEngine } from './engine.ts'
import { isHostField } from './http/authority.ts'
import { whenWhole } from './http/dav-message.ts'
import { lingerAfter } from './http/linger.ts'
import { ASSETS } from './http/page-assets.ts'
import { nameOfText, textOfName } from './http/path.ts'
import { LockScope } from './http/vocabulary.ts'
import { DurableLockStore } from './locks/durable-locks.ts'
import type { LockStore } from './locks/lock-store.ts'
import { DAV_METHODS } from './methods/method-table.ts'
import { markWaiting } from './request/body.ts'
import { BufferPool } from './state/buffer-pool.ts'
import { Checksums } from './state/checksums.ts'
import { ContentCache } from './state/content-cache.ts'
import { newCounters } from './state/counters.ts'
import { KeyedQueue } from './state/keyed-queue.ts'
import { ServedView } from './state/served-view.ts'
import { SyncStore } from './state/sync-store.ts'
import { UploadStore } from './state/upload-store.ts'

export type { Caller, Scope } from './api/caller.ts'
export type {
  DavClient,
  DavHandle,
  DavLimits,
  DavLock,
  DavMember,
  DavOptions,
  DavTemplate,
  DavUse,
  DavViewSettings,
  Logger,
  SymlinkPolicy,
} from './api/settings.ts'
export { hostKey } from './http/authority.ts'
export { HTTP_MESSAGES, KEEP_ALIVE_SECONDS } from './http/dav-message.ts'
export { PageAssets, readPageFiles, SHARED_FILES } from './http/page-assets.ts'
export {
  escapeHtml,
  HTML_TYPE,
  logoutForm,
  PAGE_END,
  type PageAccount,
  type PageFrame,
  pageHeaders,
  pageStart,
} from './http/page-frame.ts'

const [SLASH, HYPHEN, PERCENT] = [0x2f, 0x2d, 0x25]

/** Original request targets, if the router had to see a different one. */
type Targets = WeakMap<IncomingMessage, string>

/**
 * Serves each view at `/NAME/`, and an index of them at `/`, for every method. The adapter reads bodies itself: the parsers of `app` are not
 * used. Works for servers that `app.listen` opens on one address. Does not open or close the overlays.
 *
 * @throws TypeError a view has an invalid name, or two have the same name
 */
export function registerWebDav(app: FastifyInstance, options: DavOptions): DavHandle {
  const views = servedViews(options.views)
  const templates = new Map((options.templates ?? []).map((template) => [nameOfText(template.name), template]))
  const now = options.now ?? Date.now
  const counters = newCounters()
  // A clock that is passed in for everything is used for locks as well.
  const lockClock = options.lockClock ?? { now: options.now ?? steadyNow, boot: undefined }
  const { lockJournals = new Map(), memberLocks } = options
  const locks = new DurableLockStore(now, lockJournals, options.log, lockClock, memberLocks)
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const uploads = new UploadStore(
    { now: lockClock.now, wallNow: now },
    limits.uploadSeconds * 1000,
    limits.uploads,
    options.log,
  )
  const newUuid = options.randomUUID ?? randomUUID
  const contents = new ContentCache(limits.contentBytes)
  const engine = new DavEngine({
    views,
    templates,
    log: options.log,
    ...senders(options),
    now,
    lockNow: lockClock.now,
    fineNow: () => performance.now(),
    randomUUID: newUuid,
    limits,
    locks,
    buffers: new BufferPool(),
    contents,
    uploads,
    syncs: new SyncStore(`urn:uuid:${newUuid()}:`, limits.syncBytes),
    checksums: new Checksums(),
    isOurs: options.isOurs ?? (() => false),
    depthInfinity: options.depthInfinity ?? false,
    counters,
    properties: new KeyedQueue(),
  })
  // Load at once, so that uploads of the last run expire on time even if nobody requests them.
  for (const view of views.values()) void uploads.load(view, views.values())
  const entrance = addEntrance(app, engine)
  const close = async () => {
    await engine.close()
    await uploads.close()
    await locks.idle()
  }
  return {
    counters,
    ...measures(engine, contents),
    close,
    ...entrance,
    ...lockKeeping(locks, lockClock.now),
    ...liveViews({ views, templates, locks, contents, uploads }),
  }
}

/** What is measured besides the counters. */
function measures(engine: DavEngine, cache: ContentCache): Pick<DavHandle, 'latencies' | 'running' | 'cache'> {
  return { latencies: engine.latencies, running: () => engine.running, cache }
}

/** Lets requests reach the engine: by routes, or past them. */
function addEntrance(app: FastifyInstance, engine: DavEngine): Pick<DavHandle, 'handles' | 'execute'> {
  const targets: Targets = new WeakMap()
  watchServer(app, targets)
  addMethods(app)
  refuseBadHost(app)
  ASSETS.addTo(app)
  const execute = (req: IncomingMessage, res: ServerResponse) =>
    engine.executeRequest(req, res, targets.get(req) ?? req.url ?? '/')
  addRoutes(app, execute)
  return {
    handles: (req) => isForEngine(req) && hostProblem(req) === undefined,
    execute: (req, res) => whenWhole(req, () => execute(req, res)),
  }
}

/** What finds out who sent a request. */
function senders({ callerOf = () => NOBODY, accountOf = () => undefined, machineOf, seen }: DavOptions) {
  return { callerOf, accountOf, machineOf, seen }
}

/** The calls by which views come and go while the server runs. */
function liveViews({
  views,
  templates,
  locks,
  contents,
  uploads,
}: {
  views: Map<string, ServedView>
  templates: Map<string, DavTemplate>
  locks: DurableLockStore
  contents: ContentCache
  uploads: UploadStore
}): Omit<
  DavHandle,
  'counters' | 'latencies' | 'running' | 'cache' | 'close' | 'handles' | 'execute' | 'locks' | 'endLock'
> {
  const letGo = async (id: string) => {
    contents.deleteView(id)
    await uploads.closeView(id)
  }
  return {
    changeGuard: (view) => lockGuard(locks, view),
    serve: (view, journal) => {
      const served = new ServedView(view)
      views.set(nameOfText(view.name), served)
      if (journal !== undefined) locks.openJournal(served.id, journal)
      void uploads.load(served, views.values())
    },
    serveTemplate: (template) => void templates.set(nameOfText(template.name), template),
    end: async (name) => {
      templates.delete(nameOfText(name))
      if (!views.delete(nameOfText(name))) return
      await letGo(name)
      await locks.closeJournal(name)
    },
    closing: letGo,
    removed: async (id) => locks.removeTree(id, [], false),
  }
}

/** What administrators do with locks. */
function lockKeeping(locks: DurableLockStore, now: () => number): Pick<DavHandle, 'locks' | 'endLock'> {
  return {
    locks: () => {
      const nowMs = now()
      return locks.all().map(({ token, view, names, user, login, kind, deep, expiresMs }) => ({
        ...{ token, view, user, login, deep },
        path: names.map(textOfName).join('/'),
        exclusive: kind.scope === LockScope.Exclusive,
        endsInMs: expiresMs - nowMs,
      }))
    },
    endLock: async (token) => {
      if (locks.byToken(token) === undefined) return false
      await locks.remove(token)
      return true
    },
  }
}

/** Milliseconds on the monotonic clock (CLOCK_MONOTONIC), which all processes share until the next boot. */
function steadyNow(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}

/** Protects a locked path from other protocols, because only WebDAV clients can submit a token. */
function lockGuard(locks: LockStore, view: string): ChangeGuard {
  return {
    get active() {
      return locks.size > 0
    },
    covers: (path) => locks.covering(view, path).length > 0,
    coversFile: ({ key, generation }) => locks.onFile(view, { key, generation }).length > 0,
    coversBelow: (path) => !locks.below(view, path)[Symbol.iterator]().next().done,
  }
}

/** @throws TypeError a name is invalid, or two are the same */
function servedViews(views: readonly DavViewSettings[]): Map<string, ServedView> {
  const served = new Map<string, ServedView>()
  for (const view of views) {
    const name = nameOfText(view.name)
    if (served.has(name)) throw new TypeError(`two views are named ${JSON.stringify(view.name)}`)
    served.set(name, new ServedView(view))
  }
  return served
}

/** Handles requests before the router, for cases that the router or Node would answer in a way unsuitable for WebDAV. */
function watchServer(app: FastifyInstance, targets: Targets): void {
  app.server.prependListener('request', (req: IncomingMessage, res: ServerResponse) => {
    lingerAfter(req, res)
    const { url = '/' } = req
    const target = pathOf(url)
    const routable = routableTarget(target)
    if (routable === url) return
    targets.set(req, target)
    req.url = routable
  })
  // With a checkContinue listener, the adapter decides when to request the body.
  app.server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    if (!pathOf(req.url ?? '').startsWith('/-/')) markWaiting(req)
    else res.writeContinue()
    app.server.emit('request', req, res)
  })
}

/**
 * The path of a request target in any of its forms (RFC 9112 section 3.2); `*` means the whole server. Several leading slashes mean
 * the same as one, because clients join a base URL and a path carelessly.
 */
function pathOf(url: string): string {
  if (url.startsWith('/')) return url.startsWith('//') ? url.replace(/^\/+/, '/') : url
  if (url === '*') return '/'
  const path = /^https?:\/\/[^/?#]*(.*)$/is.exec(url)?.[1]
  return path === undefined ? url : path.startsWith('/') ? path.replace(/^\/+/, '/') : `/${path}`
}

/** Lets the engine see every method, so that it says what works in place of an unknown one. Fastify knows QUERY, but refuses one without a content type. */
function addMethods(app: FastifyInstance): void {
  for (const method of METHODS) {
    if (method === 'CONNECT') continue
    if (method === 'QUERY' || !app.supportedMethods.includes(method))
      app.addHttpMethod(method, { overrideExisting: true })
  }
}

/** Rejects a second Host field, and one that is not just a host (RFC 9112 section 3.2), because a proxy may have interpreted it differently. */
function refuseBadHost(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, next) => {
    const problem = hostProblem(request.raw)
    if (problem === undefined) return next()
    reply.code(400).header('connection', 'close').type('text/plain; charset=utf-8').send(`${problem}\n`)
  })
}

/** The last valid content of a Host field, because most requests have the same one. */
let lastHost: string | undefined

function hostProblem({ rawHeaders, headers }: IncomingMessage): string | undefined {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  const { host } = headers
  if (hosts > 0 && host !== lastHost) {
    if (!isHostField(host ?? '')) return 'The Host field is not a valid host.'
    lastHost = host
  }
  return hosts > 1 ? 'More than one Host field.' : undefined
}

/** Whether the router would choose the routes of the engine. Its own routes, all below `/-/`, may be written with escapes. */
function isForEngine({ method = '', url = '' }: IncomingMessage): boolean {
  if (url.charCodeAt(0) !== SLASH || !Object.hasOwn(DAV_METHODS, method)) return false
  const next = url.charCodeAt(1)
  return next !== HYPHEN && next !== PERCENT
}

/** A path that the router can match: it accepts only percent-encoded UTF-8, while names are any bytes. */
function routableTarget(path: string): string {
  if (!path.includes('%')) return path
  try {
    decodeURI(path)
    return path
  } catch {
    return path.replaceAll('%', '%25')
  }
}

function addRoutes(app: FastifyInstance, execute: (req: IncomingMessage, res: ServerResponse) => void): void {
  app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null))
    const route = {
      method: scope.supportedMethods.filter((method) => method !== 'CONNECT') as HTTPMethods[],
      onRequest: (request: FastifyRequest, _reply: FastifyReply, next: () => void) => {
        // The content type is irrelevant here, and a malformed one must not reject the request.
        // Deleting it would make each later look at a header slower.
        if (request.raw.headers['content-type'] !== undefined) request.raw.headers['content-type'] = undefined
        next()
      },
      handler: (request: FastifyRequest, reply: FastifyReply) => {
        reply.hijack()
        execute(request.raw, reply.raw)
      },
    }
    // One route for all views, because they come and go while the server runs.
    scope.route({ ...route, url: '/' })
    scope.route({ ...route, url: '/*' })
    done()
  })
}
