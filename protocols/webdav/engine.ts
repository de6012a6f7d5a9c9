import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { isErrno, Latencies, type MaybePromise, OverlayError } from '../../overlay-core/index.ts'
import type { Caller } from './api/caller.ts'
import type { DavTemplate, DavUse } from './api/settings.ts'
import { ClientGone } from './http/client-gone.ts'
import { DavError } from './http/dav-error.ts'
import { type DavPath, parsePath } from './http/path.ts'
import { statusOf } from './http/status.ts'
import { traceIdOf } from './http/trace-id.ts'
import { type ResourceType, WebDAVServer } from './http/vocabulary.ts'
import { DAV_METHODS, type DavMethod } from './methods/method-table.ts'
import { isWaiting } from './request/body.ts'
import { errorBody, sendBody, XML_TYPE } from './request/reply.ts'
import { DavContext, type DavServices, type DavView, type ViewContext } from './state/context.ts'
import { isInScope, usualPath, viewInUse } from './state/served-view.ts'

const NOWHERE: DavPath = { names: [], trailingSlash: true }
const TEXT_TYPE = 'text/plain; charset=utf-8'

/** The dependencies of the engine, which adds `allowed` itself. */
export type EngineServices = Omit<DavServices, 'allowed'>

/**
 * The WebDAV engine: webdav-server's method registry with methods of our own, and an executor that turns every outcome into one answer.
 * No request makes `executeRequest` throw.
 */
export class DavEngine extends WebDAVServer {
  declare methods: Record<string, DavMethod>
  override executeRequest: (req: IncomingMessage, res: ServerResponse, target: string) => void
  /** How long requests of each method have taken, from their header until they are answered. */
  readonly latencies: ReadonlyMap<string, Latencies>
  readonly #services: DavServices
  #running = 0
  #closing = false
  #idle: (() => void) | undefined

  constructor(services: EngineServices) {
    super({ version: '0' })
    this.methods = {}
    for (const [name, method] of Object.entries(DAV_METHODS)) this.method(name, method)
    this.latencies = new Map(Object.keys(DAV_METHODS).map((name) => [name, new Latencies()]))
    this.#services = { ...services, allowed: (kind, readOnly) => this.#allowed(kind, readOnly) }
    this.executeRequest = (req, res, target) => this.#execute(req, res, target)
  }

  /** The number of requests that are being answered. */
  get running(): number {
    return this.#running
  }

  /** Turns new requests away and resolves when the last running one has ended. */
  close(): Promise<void> {
    this.#closing = true
    return new Promise((resolve) => {
      if (this.#running === 0) resolve()
      else this.#idle = resolve
    })
  }

  #execute(req: IncomingMessage, res: ServerResponse, target: string): void {
    const beganMs = this.#services.fineNow()
    this.#services.counters.requests++
    this.#running++
    res.on('error', this.#unheard)
    const caller = this.#services.callerOf(req)
    try {
      const located = this.#locate(req, res, caller, target)
      if (located instanceof Promise) {
        located.then(
          (ctx) => this.#run(ctx, beganMs),
          (error: unknown) => this.#fail(this.#nowhere(req, res, caller), error, beganMs),
        )
      } else {
        this.#run(located, beganMs)
      }
    } catch (error) {
      this.#fail(this.#nowhere(req, res, caller), error, beganMs)
    }
  }

  /** The context of a request whose path leads to no view. */
  #nowhere(req: IncomingMessage, res: ServerResponse, caller: Caller): DavContext {
    return new DavContext(req, res, this.#services, caller, undefined, NOWHERE)
  }

  #run(ctx: DavContext, beganMs: number): void {
    if (this.#services.seen !== undefined && ctx.view !== undefined)
      this.#services.seen(ctx.req, ctx.view.holder, labelOf(ctx.view, ctx.template))
    try {
      const result = this.#dispatch(ctx)
      if (result instanceof Promise) {
        result.then(
          () => this.#done(ctx, beganMs),
          (error: unknown) => this.#fail(ctx, error, beganMs),
        )
      } else {
        this.#done(ctx, beganMs)
      }
    } catch (error) {
      this.#fail(ctx, error, beganMs)
    }
  }

  /** Called if a write fails because the connection is closed; the writer learns that in another way. */
  readonly #unheard = (error: Error): void => {
    this.#services.log.debug({ message: error.message }, 'cannot write a response')
  }

  #locate(req: IncomingMessage, res: ServerResponse, caller: Caller, target: string): MaybePromise<DavContext> {
    const path = usualPath(parsePath(target), caller)
    if (path === undefined) throw new DavError(404, 'no such view')
    const { names, trailingSlash } = path
    const first = names[0]
    if (first === undefined) return new DavContext(req, res, this.#services, caller, undefined, path)
    const inside = { names: names.slice(1), trailingSlash }
    const view = this.#services.views.get(first)?.seenBy(caller)
    if (view !== undefined) return new DavContext(req, res, this.#services, caller, view, inside)
    const template = this.#services.templates.get(first)
    if (template === undefined || !isInScope(template.name, caller)) throw new DavError(404, 'no such view')
    if (this.#closing) throw this.#stopping()
    const nowhere = this.#nowhere(req, res, caller)
    const found = (use: DavUse | undefined) => this.#inTemplate(nowhere, inside, template, use)
    const use = template.use(inside.names, nowhere)
    return use instanceof Promise ? use.then(found) : found(use)
  }

  /** The view of a template that is in use, or the template itself, whose members are views. */
  #inTemplate(
    { req, res, caller }: DavContext,
    path: DavPath,
    template: DavTemplate,
    use: DavUse | undefined,
  ): DavContext {
    if (use === undefined) {
      if (path.names.length > 0) throw new DavError(404, 'no such view')
      return new DavContext(req, res, this.#services, caller, undefined, path, { template })
    }
    const view = viewInUse(template, use, path.names, caller)
    const inside = { ...path, names: path.names.slice(use.used) }
    return new DavContext(req, res, this.#services, caller, view, inside, { template, use })
  }

  #stopping(): DavError {
    return new DavError(503, 'the server is stopping', { headers: ['Connection', 'close'] })
  }

  #dispatch(ctx: DavContext): void | Promise<void> {
    if (this.#closing) throw this.#stopping()
    const method = this.methods[this.normalizeMethodName(ctx.req.method ?? '')]
    if (ctx.caller.dropOnly) refuseLooking(ctx)
    const refused = method?.changesElsewhere === true ? ctx.caller.readOnly : ctx.readOnly
    if (refused && method !== undefined && !method.safe) throw new DavError(403, 'you may only read here')
    if (isInView(ctx)) {
      if (method !== undefined) return method.handle(ctx)
    } else if (method?.handleRoot !== undefined) {
      return method.handleRoot(ctx)
    }
    const allow = this.#allowed(isInView(ctx) ? undefined : 'root', ctx.view?.overlay.readOnly ?? false)
    throw new DavError(405, 'method not allowed here', { headers: ['Allow', allow] })
  }

  #allowed(kind: ResourceType | 'root' | undefined, readOnly: boolean): string {
    return Object.entries(DAV_METHODS)
      .filter(([, method]) => method.safe || !readOnly)
      .filter(([, method]) =>
        kind === 'root' ? method.handleRoot !== undefined : kind === undefined || method.isValidFor(undefined, kind),
      )
      .map(([name]) => name)
      .join(', ')
  }

  #fail(ctx: DavContext, error: unknown, beganMs: number): void {
    try {
      if (error instanceof ClientGone) this.#lost(ctx)
      else this.#refuse(ctx, error)
    } catch (second) {
      this.#services.log.error({ err: second }, 'webdav: cannot answer with an error')
      ctx.res.destroy()
    }
    this.#done(ctx, beganMs)
  }

  /** Called if the client closes the connection during a transfer. */
  #lost({ req, res, services }: DavContext): void {
    if (req.complete) services.counters.abortedDownloads++
    else services.counters.abortedUploads++
    services.log.debug(
      { method: req.method, url: loggedUrl(req), trace: traceOf(req, services) },
      'webdav: the client went away',
    )
    res.destroy()
  }

  #refuse(ctx: DavContext, error: unknown): void {
    const { req, res, services } = ctx
    const status = statusOf(error)
    const details = { method: req.method, url: loggedUrl(req), trace: traceOf(req, services), status, err: error }
    if (status >= 500 && !(error instanceof DavError) && status !== 507) {
      services.counters.faults++
      services.log.error(details, 'webdav: request failed')
    } else if (error instanceof OverlayError || status !== 400) {
      services.log.debug({ ...details, err: undefined, reason: String(error) }, 'webdav: request refused')
    } else {
      services.counters.badRequests++
      services.log.warn({ ...details, err: undefined, reason: String(error) }, 'webdav: malformed request')
    }
    if (res.headersSent || res.destroyed) {
      // The status was sent already, so closing the connection is the only way to report the failure.
      res.destroy()
      return
    }
    // The body may or may not follow, so the next bytes on this connection could not be interpreted.
    if (isWaiting(req)) res.shouldKeepAlive = false
    const { condition = conditionOf(error), headers = [] } = error instanceof DavError ? error : {}
    const reason = error instanceof DavError ? error.message : (STATUS_CODES[status] ?? 'failed')
    if (condition !== undefined) sendBody(ctx, status, XML_TYPE, errorBody(condition), headers)
    else sendBody(ctx, status, TEXT_TYPE, `${reason}\n`, [...headers, 'X-Content-Type-Options', 'nosniff'])
  }

  #done({ req, res, services, use, other }: DavContext, beganMs: number): void {
    const { counters } = services
    this.latencies.get(req.method ?? '')?.add(services.fineNow() - beganMs)
    use?.release()
    other?.use.release()
    if (res.statusCode < 300) counters.status2xx++
    else if (res.statusCode < 400) counters.status3xx++
    else if (res.statusCode < 500) counters.status4xx++
    else counters.status5xx++
    this.#running--
    if (this.#running === 0) this.#idle?.()
  }
}

/** The name of a view for administrators. */
function labelOf({ name }: DavView, template: DavTemplate | undefined): string {
  return template === undefined ? name : `${template.name}/${name}`
}

/** The URL of a request for the log: whoever reads it must not get in by a link, whose secret is the first segment. */
function loggedUrl({ url = '' }: IncomingMessage): string {
  return url.replace(/^\/+(?:~|%7e)[^/?]*/i, '/~…')
}

/** The trace of a request for the log, made up if its sender names none. */
function traceOf({ headers }: IncomingMessage, services: DavServices): string {
  return traceIdOf(headers.traceparent) ?? services.randomUUID().replaceAll('-', '')
}

/** Lets a caller that may only add files ask for the page on which it does that, and add some. @throws DavError 403 */
function refuseLooking({ req: { method = '' }, view, path }: DavContext): void {
  const top = view !== undefined && path.names.length === view.within.length
  const allowed = method === 'OPTIONS' || (top ? method === 'GET' || method === 'HEAD' : method === 'PUT')
  if (!allowed) throw new DavError(403, 'you may only add files here')
}

/** The precondition of RFC 4331 section 6 that corresponds to a full disk. */
function conditionOf(error: unknown): string | undefined {
  if (isErrno(error, 'EDQUOT')) return '<D:quota-not-exceeded/>'
  return isErrno(error, 'ENOSPC') ? '<D:sufficient-disk-space/>' : undefined
}

function isInView(ctx: DavContext): ctx is ViewContext {
  return ctx.view !== undefined
}
