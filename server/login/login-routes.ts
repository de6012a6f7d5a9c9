import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { BrowserAnswer, BrowserLogin } from './browser-login.ts'
import { CALLBACK_PATH } from './oidc/code-flow.ts'

/** Adds the pages by which browsers log in and out. */
export function addLoginRoutes(app: FastifyInstance, login: BrowserLogin): void {
  const send = (reply: FastifyReply, { status, headers, text }: BrowserAnswer) => {
    reply.code(status).headers({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', ...headers })
    if (!text.startsWith('<')) return reply.type('text/plain; charset=utf-8').send(text)
    const policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'"
    return reply.header('content-security-policy', policy).type('text/html; charset=utf-8').send(text)
  }
  const page =
    (answer: (req: IncomingMessage, query: string) => ReturnType<BrowserLogin['begin']>) =>
    async (request: FastifyRequest, reply: FastifyReply) => {
      const { url = '' } = request.raw
      const at = url.indexOf('?')
      return send(reply, await answer(request.raw, at < 0 ? '' : url.slice(at)))
    }
  app.get(
    '/-/login',
    page((req, query) => login.begin(req, query)),
  )
  app.get(
    CALLBACK_PATH,
    page((req, query) => login.finish(req, query)),
  )
  app.get(
    '/-/logout',
    page(async () => login.askLogout()),
  )
  app.post(
    '/-/logout',
    page(async (req) => login.logout(req)),
  )
}
