import { timingSafeEqual } from 'node:crypto'
import fastify, { type FastifyBaseLogger, type FastifyReply, LogController } from 'fastify'
import { inOverlayOptions } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import type { RandomBytes } from './random.ts'
import type { RemountRequest } from './views.ts'

/** How the administrator reaches a running server; stands in its note, which only the server's user and root can read. */
export interface ControlNote {
  readonly port: number
  /** Proves that who asks could read the note. */
  readonly token: string
}

/** The open control door. */
export interface Control {
  readonly note: ControlNote
  readonly counters: ControlCounters
  close(): Promise<void>
}

export interface ControlCounters {
  remounts: number
  /** Requests without the token: somebody on this machine tries. */
  refused: number
}

/** What a wrong option is answered with. */
export interface ControlError {
  readonly option: string
  readonly message: string
}

const HOST = '127.0.0.1'
const TOKEN_BYTES = 32
/** 500 layers with paths of 4,096 bytes need a little more than 2 MB. */
const BODY_LIMIT_BYTES = 4 * 1024 * 1024

const REMOUNT_BODY = {
  type: 'object',
  required: ['options', 'cwd'],
  properties: { options: { type: 'string' }, cwd: { type: 'string' }, view: { type: 'string' } },
}

/**
 * Opens the door for `overlayd remount`: HTTP on a port of the loopback interface that is told, with a token made for this run, in the server's
 * note alone. Other users of this machine, and web pages in its browsers, reach the port and get nowhere.
 */
export async function openControl(parts: {
  readonly log: FastifyBaseLogger
  readonly random: RandomBytes
  readonly remount: (request: RemountRequest) => Promise<void>
}): Promise<Control> {
  const { log, random, remount } = parts
  const token = Buffer.from(random(TOKEN_BYTES)).toString('base64url')
  const wanted = Buffer.from(`Bearer ${token}`)
  const counters: ControlCounters = { remounts: 0, refused: 0 }
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: 30_000,
  })
  app.addHook('onRequest', async (request, reply) => {
    const given = Buffer.from(request.headers.authorization ?? '')
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) return
    counters.refused++
    log.warn('a control request without the token of this server')
    await reply.code(401).send()
  })
  app.setErrorHandler(async (error, _request, reply) => answerError(error, reply, log))
  app.post('/remount', { schema: { body: REMOUNT_BODY } }, async (request, reply) => {
    await remount(request.body as RemountRequest)
    counters.remounts++
    return reply.code(204).send()
  })
  await app.listen({ host: HOST, port: 0, listenTextResolver: () => 'control requests are taken' })
  const bound = app.server.address()
  const port = bound !== null && typeof bound === 'object' ? bound.port : 0
  return { note: { port, token }, counters, close: () => app.close() }
}

function answerError(error: unknown, reply: FastifyReply, log: FastifyBaseLogger): FastifyReply {
  if (error instanceof OptionError) {
    const { option, message } = inOverlayOptions(error)
    return reply.code(400).send({ option, message } satisfies ControlError)
  }
  const { statusCode } = error as { statusCode?: number }
  if (statusCode !== undefined && statusCode < 500) return reply.code(statusCode).send()
  log.error({ err: error }, 'a control request failed')
  return reply.code(500).send()
}
