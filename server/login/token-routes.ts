import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { OptionError } from '../../overlay-core/index.ts'
import { may } from './api/roles.ts'
import type { HttpLogin } from './http-login.ts'
import type { TokenDescription, TokenOrder } from './tokens/token-orders.ts'

const BODY_LIMIT_BYTES = 8192

const BODY = {
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: {
    name: { type: 'string' },
    view: { type: 'string' },
    path: { type: 'string' },
    mode: { type: 'string' },
    kind: { type: 'string' },
    password: { type: 'string' },
    seconds: { type: 'integer' },
  },
}

const QUERY = { querystring: { type: 'object', properties: { user: { type: 'string' } } } }

/** Where users make, list and revoke their app passwords. Unlike other paths below `/-/` it needs a user. */
export const TOKENS_PATH = '/-/tokens'

/** Says in words why a request was not even understood. */
function refuse(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  const { statusCode = 500 } = error
  if (statusCode >= 500) throw error
  const words: Record<number, string> = {
    413: `the request is longer than ${BODY_LIMIT_BYTES} bytes; shorten the name or the path`,
    415: 'the request is not JSON; send it with Content-Type: application/json',
  }
  reply.code(statusCode).header('cache-control', 'no-store')
  reply.send({ error: words[statusCode] ?? `the request cannot be understood: ${error.message}` })
}

/** Adds the calls: `GET /-/tokens`, `POST /-/tokens` with JSON, `DELETE /-/tokens/ID`; with `?user=NAME` for an admin. */
export function addTokenRoutes(
  app: FastifyInstance,
  login: HttpLogin,
  execute: (order: TokenOrder, address: string) => Promise<readonly TokenDescription[]>,
): void {
  const run = async (request: FastifyRequest, reply: FastifyReply, order: TokenOrder, status: number) => {
    const { user, token, roles } = login.userOf(request.raw)
    const { user: asked = user } = request.query as { user?: string }
    reply.header('cache-control', 'no-store')
    // A token must not make others that outlive it.
    if (token !== undefined) return reply.code(403).send({ error: 'log in with your password, not with a token' })
    if (!may(roles, asked === user ? 'make token of own' : 'manage tokens of others')) {
      login.refused(request.raw, `tokens of ${asked}`)
      return reply.code(403).send({ error: 'these are the tokens of another user' })
    }
    try {
      const found = await execute({ ...order, user: asked }, login.addressOf(request.raw))
      return reply.code(status).send(order.verb === 'list' ? found : found[0])
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      return reply.code(order.verb === 'revoke' ? 404 : 400).send({ error: error.reason })
    }
  }
  app.get(TOKENS_PATH, { schema: QUERY, errorHandler: refuse }, (request, reply) =>
    run(request, reply, { verb: 'list' }, 200),
  )
  app.post(
    TOKENS_PATH,
    { schema: { ...QUERY, body: BODY }, bodyLimit: BODY_LIMIT_BYTES, errorHandler: refuse },
    (request, reply) => run(request, reply, { ...(request.body as Omit<TokenOrder, 'verb'>), verb: 'make' }, 201),
  )
  app.delete(`${TOKENS_PATH}/:id`, { schema: QUERY, errorHandler: refuse }, (request, reply) =>
    run(request, reply, { verb: 'revoke', id: (request.params as { id: string }).id }, 200),
  )
}
