import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { HTML_TYPE, logoutForm, PAGE_END, pageHeaders, pageStart } from '../../protocols/webdav/index.ts'
import type { BrowserAnswer, BrowserLogin, LoginPage } from './browser-login.ts'
import { LOGOUT_PATH } from './http-login.ts'
import { CALLBACK_PATH, LOGGED_OUT_PATH } from './oidc/code-flow.ts'

/** What the pages by which browsers log in and out need; both may change while the server runs. */
export interface LoginRoutesParts {
  /** The login at a provider; undefined if there is none. */
  readonly browsers: () => BrowserLogin | undefined
  /** The field `WWW-Authenticate` that asks for a password; undefined if passwords are not taken. */
  readonly challenge: () => string | undefined
}

/** Adds the pages by which browsers log in and out. */
export function addLoginRoutes(app: FastifyInstance, { browsers, challenge }: LoginRoutesParts): void {
  const page =
    (answer: (req: IncomingMessage, query: string) => BrowserAnswer | Promise<BrowserAnswer> | undefined) =>
    async (request: FastifyRequest, reply: FastifyReply) => {
      const { url = '' } = request.raw
      const at = url.indexOf('?')
      const given = await answer(request.raw, at < 0 ? '' : url.slice(at))
      return given === undefined ? reply.callNotFound() : send(reply, given)
    }
  app.get(
    '/-/login',
    page((req, query) => browsers()?.begin(req, query)),
  )
  app.get(
    CALLBACK_PATH,
    page((req, query) => browsers()?.finish(req, query)),
  )
  app.get(
    LOGOUT_PATH,
    page((req) => ask(browsers()?.hasSession(req) === true, challenge() !== undefined)),
  )
  app.post(
    LOGOUT_PATH,
    page((req) => {
      const login = browsers()
      return login?.hasSession(req) === true ? login.logout(req) : forget(challenge())
    }),
  )
  app.get(
    LOGGED_OUT_PATH,
    page(() => DONE),
  )
}

function send(reply: FastifyReply, { status, headers, body }: BrowserAnswer): FastifyReply {
  if (typeof body === 'string') {
    const usual = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' }
    return reply
      .code(status)
      .headers({ ...usual, ...headers })
      .type('text/plain; charset=utf-8')
      .send(body)
  }
  const usual = pageHeaders(true)
  for (let i = 0; i < usual.length; i += 2) reply.header(usual[i] as string, usual[i + 1])
  reply.code(status).headers({ 'cache-control': 'no-store', ...headers })
  const { title, html, next } = body
  return reply.type(HTML_TYPE).send(`${pageStart({ title, next, account: undefined })}${html}\n${PAGE_END}`)
}

function pageOf(title: string, html: string): LoginPage {
  return { title, html: `<h1>${title}</h1>${html}` }
}

/** The page that asks whether to log out. */
function ask(session: boolean, password: boolean): BrowserAnswer {
  const how =
    session || !password
      ? ''
      : '<p>Your browser keeps the password until it is closed. To make it forget the password now, press the button; when it asks for a password again, press Cancel.</p>'
  return { status: 200, headers: {}, body: pageOf('Log out', `${how}${logoutForm(LOGOUT_PATH)}`) }
}

/** Makes a browser forget the password that it sends: it does so when the password is refused. */
function forget(challenge: string | undefined): BrowserAnswer {
  if (challenge === undefined) return DONE
  return { ...DONE, status: 401, headers: { 'www-authenticate': challenge } }
}

const DONE: BrowserAnswer = {
  status: 200,
  headers: {},
  body: pageOf('You are logged out', '<p><a class="button" href="/">Log in again</a></p>'),
}
