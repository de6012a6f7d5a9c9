import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type { Logger } from 'pino'
import { inOverlayOptions } from '../../../config/index.ts'
import { OptionError } from '../../../overlay-core/index.ts'
import type { RunningServer } from '../../running-server.ts'
import { type AdminFailure, type AnyVerb, pathOf, type Requester } from '../api/verb.ts'
import { VERBS } from '../verbs/table.ts'
import { addAdminPage } from './add-admin-page.ts'
import { addApiDocument } from './api-document.ts'
import { addJobEvents } from './job-events.ts'

/** 500 layers with paths of 4,096 bytes need a little more than 2 MB. */
const BODY_LIMIT_BYTES = 4 * 1024 * 1024

/** The counters of the admin listener. */
export interface AdminCounters {
  /** Requests that were let in. */
  requests: number
  /** Requests without a login, of somebody who is no administrator, or of a foreign page. */
  refused: number
  /** Requests that failed because of a bug or of the machine. */
  failed: number
}

/** What the API needs. */
export interface AdminAppParts {
  readonly server: RunningServer
  readonly log: Logger
  readonly counters: AdminCounters
}

/** Answers a request that was let in. */
export type AdminListener = (request: IncomingMessage, response: ServerResponse, by: Requester) => void

/** Makes what answers requests of administrators. It has its own file so that it is loaded with the first request: Fastify takes 13 MB. */
export async function adminApp({ server, log, counters }: AdminAppParts): Promise<AdminListener> {
  const app = fastify({
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    bodyLimit: BODY_LIMIT_BYTES,
    // Unknown words are refused instead of dropped. A query has only texts.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: 'array', useDefaults: false } },
  })
  app.log = log
  app.removeContentTypeParser('text/plain')
  app.setErrorHandler(async (error, request, reply) => answerError(error, request, reply, { log, counters }))
  app.setNotFoundHandler((request, reply) => {
    const message = `there is no ${request.method} ${request.url.split('?', 1)[0]}; see /openapi.json`
    return reply.code(404).send({ message } satisfies AdminFailure)
  })
  app.addHook('onSend', async (_request, reply) => void reply.header('cache-control', 'no-store'))
  const requesters = new WeakMap<IncomingMessage, Requester>()
  const byOf = ({ raw }: FastifyRequest) => requesters.get(raw) as Requester
  for (const each of VERBS) addVerb(app, each, byOf, { server, log, counters })
  addJobEvents(app, server.jobs)
  addApiDocument(app, VERBS)
  addAdminPage(app)
  await app.ready()
  return (request, response, by) => {
    counters.requests++
    requesters.set(request, by)
    app.routing(request, response)
  }
}

type ByOf = (request: FastifyRequest) => Requester

function addVerb(app: FastifyInstance, entry: AnyVerb, byOf: ByOf, parts: AdminAppParts): void {
  const path = pathOf(entry.name)
  const { schema } = entry.order
  app.post(path, { schema: { body: schema }, preValidation: orderIfMissing }, (request, reply) =>
    execute(entry, request.body as object, byOf(request), reply, parts),
  )
  if (entry.changes) return
  app.get(path, { schema: { querystring: schema } }, (request, reply) =>
    execute(entry, request.query as object, byOf(request), reply, parts),
  )
}

/** A request without a body orders nothing in particular. */
async function orderIfMissing(request: FastifyRequest): Promise<void> {
  request.body ??= {}
}

async function execute(
  { name, answer, changes, run }: AnyVerb,
  order: object,
  by: Requester,
  reply: FastifyReply,
  { server, log }: AdminAppParts,
): Promise<unknown> {
  if (changes) log.info({ verb: name, by }, 'an administrator changes something')
  const begin = (signal: AbortSignal, progress: Parameters<typeof run>[0]['progress']) =>
    run({ server, by, signal, progress }, order as never)
  if (answer === 'job') {
    const job = server.jobs.start(name, order, by, ({ signal, progress }) => begin(signal, progress))
    return reply
      .code(202)
      .header('location', `${pathOf('job show')}?id=${job.id}`)
      .send(job)
  }
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  const result = await begin(gone.signal, () => undefined)
  if (answer !== 'lines') return reply.type('application/json').send(JSON.stringify(result))
  return reply.type('application/x-ndjson').send(Readable.from(asLines(result as AsyncIterable<unknown>)))
}

async function* asLines(values: AsyncIterable<unknown>): AsyncGenerator<string> {
  for await (const value of values) yield typeof value === 'string' ? value : `${JSON.stringify(value)}\n`
}

/** Options that are given to `-o`, not to the command. */
const OF_REMOUNT = pathOf('remount')

function answerError(
  error: unknown,
  { routeOptions }: FastifyRequest,
  reply: FastifyReply,
  { log, counters }: Pick<AdminAppParts, 'log' | 'counters'>,
): FastifyReply {
  if (error instanceof OptionError) {
    const named = routeOptions.url === OF_REMOUNT && error.option !== 'NAME' ? inOverlayOptions(error) : error
    return reply.code(400).send({ option: named.option, message: named.message } satisfies AdminFailure)
  }
  const { statusCode, message } = error as { statusCode?: number; message?: string }
  if (statusCode !== undefined && statusCode < 500)
    return reply
      .code(statusCode)
      .send({ message: `the request cannot be understood: ${message}; see /openapi.json` } satisfies AdminFailure)
  counters.failed++
  log.error({ err: error }, 'a request of an administrator failed')
  return reply.code(500).send({ message: 'this failed; the log of the server says why' } satisfies AdminFailure)
}
