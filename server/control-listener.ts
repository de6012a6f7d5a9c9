import { timingSafeEqual } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { Readable } from 'node:stream'
import fastify, { type FastifyBaseLogger, type FastifyReply, LogController } from 'fastify'
import { inOverlayOptions, type LayerWork } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import type { MachineDescription, MachineOrder } from './boot/machine-requests.ts'
import type { ControlCounters, ControlError } from './control.ts'
import type { DiffOrder } from './diff/view-differences.ts'
import type { TokenDescription, TokenOrder } from './login/index.ts'
import type { RebaseOrder, RebaseRequests } from './rebase/rebase-requests.ts'
import type { SnapshotDescription, SnapshotOrder } from './registry/snapshot-requests.ts'
import type { ViewDescription, ViewOrder } from './registry/view-requests.ts'
import type { ReloadReport } from './reload.ts'
import type { ServerStatus } from './status.ts'
import type { RemountRequest } from './views.ts'

/** 500 layers with paths of 4,096 bytes need a little more than 2 MB. */
const BODY_LIMIT_BYTES = 4 * 1024 * 1024

const REMOUNT_BODY = {
  type: 'object',
  required: ['options', 'cwd'],
  properties: { options: { type: 'string' }, cwd: { type: 'string' }, view: { type: 'string' } },
}

const VIEWS_BODY = {
  type: 'object',
  required: ['verb'],
  properties: {
    verb: { enum: ['create', 'list', 'show', 'rename', 'remove'] },
    view: { type: 'string' },
    to: { type: 'string' },
  },
}

const SNAPSHOTS_BODY = {
  type: 'object',
  required: ['verb', 'view'],
  properties: {
    verb: { enum: ['take', 'list', 'rollback', 'reset', 'remove', 'fork', 'squash'] },
    view: { type: 'string' },
    name: { type: 'string' },
    drop: { type: 'boolean' },
  },
}

const MACHINES_BODY = {
  type: 'object',
  required: ['verb'],
  properties: {
    verb: { enum: ['list', 'show', 'reset', 'forget', 'approve', 'pin', 'unpin', 'console-args'] },
    groups: { type: 'array', items: { type: 'string' } },
    drop: { type: 'boolean' },
    ...Object.fromEntries(['name', 'mac', 'view'].map((key) => [key, { type: 'string' }])),
  },
}

const REBASE_BODY = {
  type: 'object',
  required: ['views'],
  properties: {
    views: { type: 'array', items: { type: 'string' } },
    dryRun: { type: 'boolean' },
    atNextOpen: { type: 'boolean' },
  },
}

const TOKENS_BODY = {
  type: 'object',
  required: ['verb'],
  properties: {
    verb: { enum: ['make', 'list', 'revoke'] },
    seconds: { type: 'integer' },
    ...Object.fromEntries(
      ['user', 'name', 'view', 'path', 'mode', 'kind', 'password', 'id'].map((key) => [key, { type: 'string' }]),
    ),
  },
}

const DIFF_BODY = {
  type: 'object',
  required: ['view'],
  properties: {
    view: { type: 'string' },
    against: { type: 'string' },
    paths: { type: 'array', items: { type: 'string' } },
    contents: { type: 'boolean' },
    same: { type: 'boolean' },
  },
}

const LAYERS_BODY = {
  type: 'object',
  required: ['verb'],
  properties: {
    verb: { enum: ['add', 'publish', 'import', 'list', 'show', 'remove', 'gc', 'commit', 'promote', 'export'] },
    paths: { type: 'array', items: { type: 'string' } },
    whiteoutFiles: { type: 'boolean' },
    dryRun: { type: 'boolean' },
    ...Object.fromEntries(
      ['layer', 'version', 'from', 'view', 'to', 'what', 'format'].map((key) => [key, { type: 'string' }]),
    ),
  },
}

/** The dependencies of the control listener. */
export interface ControlParts {
  readonly log: FastifyBaseLogger
  readonly token: string
  readonly counters: ControlCounters
  readonly remount: (request: RemountRequest) => Promise<void>
  /** Absent where the server has no configuration file. */
  readonly reload: (() => Promise<ReloadReport>) | undefined
  /** Absent where the server has no templates. */
  readonly views: ((order: ViewOrder) => Promise<readonly ViewDescription[]>) | undefined
  readonly snapshots: ((order: SnapshotOrder) => Promise<readonly SnapshotDescription[]>) | undefined
  readonly rebases: RebaseRequests | undefined
  /** Absent where no machine boots from the server. */
  readonly machines: ((order: MachineOrder) => Promise<readonly MachineDescription[]>) | undefined
  readonly status: () => ServerStatus
  /** Lines of JSON about what differs in a view. */
  readonly differences: (order: DiffOrder) => Promise<AsyncIterable<string>>
  readonly tokens: ((order: TokenOrder) => Promise<readonly TokenDescription[]>) | undefined
  /** Lines of JSON about work on layers (`LayerLine`). */
  readonly layers: (work: LayerWork) => Promise<AsyncIterable<string>>
}

/** Makes the request handler of the control listener. It has its own file so that it is loaded with the first request. */
export async function controlListener({
  log,
  token,
  counters,
  remount,
  reload,
  views,
  snapshots,
  rebases,
  machines,
  status,
  differences,
  tokens,
  layers,
}: ControlParts): Promise<RequestListener> {
  const wanted = Buffer.from(`Bearer ${token}`)
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    bodyLimit: BODY_LIMIT_BYTES,
  })
  app.addHook('onRequest', async (request, reply) => {
    const given = Buffer.from(request.headers.authorization ?? '')
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) return
    counters.refused++
    log.warn('refused a control request without a valid token')
    await reply.code(401).send()
  })
  app.setErrorHandler(async (error, _request, reply) => answerError(error, reply, log))
  app.post('/remount', { schema: { body: REMOUNT_BODY } }, async (request, reply) => {
    await remount(request.body as RemountRequest)
    counters.remounts++
    return reply.code(204).send()
  })
  app.post('/status', async () => status())
  app.post('/diff', { schema: { body: DIFF_BODY } }, async (request, reply) => {
    const lines = await differences(request.body as DiffOrder)
    return reply.type('application/x-ndjson').send(Readable.from(lines))
  })
  app.post('/layers', { schema: { body: LAYERS_BODY } }, async (request, reply) => {
    const lines = await layers(request.body as LayerWork)
    return reply.type('application/x-ndjson').send(Readable.from(lines))
  })
  if (reload !== undefined) app.post('/reload', () => reload())
  if (views !== undefined)
    app.post('/views', { schema: { body: VIEWS_BODY } }, (request) => views(request.body as ViewOrder))
  if (snapshots !== undefined)
    app.post('/snapshots', { schema: { body: SNAPSHOTS_BODY } }, (request) => snapshots(request.body as SnapshotOrder))
  if (machines !== undefined)
    app.post('/machines', { schema: { body: MACHINES_BODY } }, (request) => machines(request.body as MachineOrder))
  if (rebases !== undefined) {
    app.post('/rebase', { schema: { body: REBASE_BODY } }, (request) => rebases.rebase(request.body as RebaseOrder))
    app.post('/conflicts', (request) => rebases.conflicts((request.body as { readonly view: string }).view))
  }
  if (tokens !== undefined)
    app.post('/tokens', { schema: { body: TOKENS_BODY } }, (request) => tokens(request.body as TokenOrder))
  await app.ready()
  return (request, response) => app.routing(request, response)
}

/** Options that are not part of `-o`. */
const OWN_OPTIONS = ['view', 'machine', 'token', '--against']

function answerError(error: unknown, reply: FastifyReply, log: FastifyBaseLogger): FastifyReply {
  if (error instanceof OptionError) {
    const { option, message } = OWN_OPTIONS.includes(error.option) ? error : inOverlayOptions(error)
    return reply.code(400).send({ option, message } satisfies ControlError)
  }
  const { statusCode } = error as { statusCode?: number }
  if (statusCode !== undefined && statusCode < 500) return reply.code(statusCode).send()
  log.error({ err: error }, 'control request failed')
  return reply.code(500).send()
}
