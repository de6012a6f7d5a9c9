import type { IncomingMessage } from 'node:http'
import { escapeHtml } from '../../protocols/webdav/index.ts'
import type { Login } from './login.ts'
import { type CodeFlow, LOGIN_MS } from './oidc/code-flow.ts'
import type { Sessions } from './oidc/sessions.ts'

/** What the login of browsers needs. */
export interface BrowserLoginParts {
  readonly flow: CodeFlow
  readonly sessions: Sessions
  readonly login: Login
  /** The address of the client, also behind a trusted proxy. */
  readonly clientOf: (req: IncomingMessage) => string
  readonly isPrivate: (req: IncomingMessage) => boolean
  /** The origin at which the browser reached the server. */
  readonly originOf: (req: IncomingMessage) => string
  readonly sessionMs: number
}

/** An answer to a browser. */
export interface BrowserAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[]>>
  /** A line of text, or a page. */
  readonly body: string | LoginPage
}

/** A page about a login. */
export interface LoginPage {
  readonly title: string
  /** Its content. */
  readonly html: string
  /** Where the browser goes on to at once. */
  readonly next?: string | undefined
}

/** A cookie with this prefix is only taken from this host, over TLS (RFC 6265bis section 4.1.3). */
const SECURE_PREFIX = '__Host-'
const SESSION = 'overlayd-session'
const PENDING = 'overlayd-login'

/** Logs browsers in by a provider, and gives them a session: a cookie that scripts cannot read and foreign sites cannot send. */
export class BrowserLogin {
  readonly #parts: BrowserLoginParts

  constructor(parts: BrowserLoginParts) {
    this.#parts = parts
  }

  /** Ends the sessions of a user. Returns how many. */
  endOf(user: string): number {
    return this.#parts.sessions.endOf(user)
  }

  /** Whether the request has the cookie of a session that has not ended. */
  hasSession(req: IncomingMessage): boolean {
    return this.userOf(req) !== undefined
  }

  /** Whether a script of a page sent the request with a session that has ended. A question for a password would be no help to it. */
  isStale(req: IncomingMessage): boolean {
    return req.headers['sec-fetch-dest'] === 'empty' && this.#cookie(req, SESSION) !== undefined
  }

  /** The name of the user of a session; undefined if the request has none. */
  userOf(req: IncomingMessage): string | undefined {
    const id = this.#cookie(req, SESSION)
    return id === undefined ? undefined : this.#parts.sessions.userOf(id)
  }

  /** Where a browser that navigates without a login is sent; undefined if this is none, or the provider does not answer. */
  async redirectFor({ method, headers, url = '/' }: IncomingMessage): Promise<string | undefined> {
    const navigates =
      method === 'GET' && headers.authorization === undefined && headers['sec-fetch-mode'] === 'navigate'
    if (!navigates || !(await this.#parts.flow.isUp())) return undefined
    return `/-/login?to=${encodeURIComponent(url)}`
  }

  /** Sends a browser to the provider. `query`: `?to=PATH`. */
  async begin(req: IncomingMessage, query: string): Promise<BrowserAnswer> {
    if (!this.#parts.isPrivate(req)) return NOT_PRIVATE
    try {
      const { url, pending } = await this.#parts.flow.begin(this.#parts.originOf(req), pathOf(query))
      const cookie = this.#setCookie(req, PENDING, pending, LOGIN_MS)
      return { status: 302, headers: { location: url, 'set-cookie': cookie }, body: '' }
    } catch {
      return UNAVAILABLE
    }
  }

  /** Takes a browser back from the provider. */
  async finish(req: IncomingMessage, query: string): Promise<BrowserAnswer> {
    const { flow, sessions, login, clientOf, isPrivate, sessionMs } = this.#parts
    if (!isPrivate(req)) return NOT_PRIVATE
    const pending = flow.pendingOf(this.#cookie(req, PENDING))
    if (pending === undefined) return TOO_LATE
    let hint: string | undefined
    const result = await login.prove(`session ${pending.state}${query}`, clientOf(req), 'session', async () => {
      const proved = await flow.finish(pending, query)
      if (typeof proved === 'object') hint = proved.idToken
      return proved
    })
    if ('refused' in result) return result.refused === 'wrong' ? REFUSED : UNAVAILABLE
    const old = this.#cookie(req, SESSION)
    if (old !== undefined) sessions.end(old)
    const session = this.#setCookie(req, SESSION, sessions.begin(result.user.name, sessionMs, hint), sessionMs)
    const headers = { location: pending.to, 'set-cookie': [session, this.#setCookie(req, PENDING, '', 0)] }
    return { status: 302, headers, body: '' }
  }

  /** Ends a session here, and sends the browser to the provider to end its login there. */
  async logout(req: IncomingMessage): Promise<BrowserAnswer> {
    const { flow, sessions, originOf } = this.#parts
    const id = this.#cookie(req, SESSION)
    const hint = id === undefined ? undefined : sessions.end(id)
    const headers = { 'set-cookie': this.#setCookie(req, SESSION, '', 0) }
    const next = await flow.logoutUrl(originOf(req), hint)
    return { status: 200, headers, body: next === undefined ? LOGGED_OUT_HERE : goOn(next) }
  }

  #cookie(req: IncomingMessage, name: string): string | undefined {
    const wanted = `${this.#nameOf(req, name)}=`
    const found = req.headers.cookie?.split(/; */).find((pair) => pair.startsWith(wanted))
    return found?.slice(wanted.length) || undefined
  }

  #setCookie(req: IncomingMessage, name: string, value: string, lastsMs: number): string {
    const secure = this.#isSecure(req) ? '; Secure' : ''
    const seconds = Math.floor(lastsMs / 1000)
    return `${this.#nameOf(req, name)}=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${seconds}${secure}`
  }

  #nameOf(req: IncomingMessage, name: string): string {
    return this.#isSecure(req) ? SECURE_PREFIX + name : name
  }

  #isSecure(req: IncomingMessage): boolean {
    return this.#parts.originOf(req).startsWith('https:')
  }
}

/** Browsers keep no cookie of more than 4,096 bytes, and the path is in one. */
const MOST_PATH_CHARS = 2048

/** The path to return to: of this server, so that nobody can be sent elsewhere. */
export function pathOf(query: string): string {
  const to = new URLSearchParams(query).get('to') ?? '/'
  return to.length <= MOST_PATH_CHARS && /^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(to) ? to : '/'
}

const NOT_PRIVATE: BrowserAnswer = {
  status: 403,
  headers: {},
  body: 'Logins are not accepted without encryption; use https.\n',
}
const UNAVAILABLE: BrowserAnswer = {
  status: 503,
  headers: { 'retry-after': '5' },
  body: 'The login is not available at present; try again soon.\n',
}
const TOO_LATE: BrowserAnswer = {
  status: 400,
  headers: {},
  body: 'This login took too long, or began in another browser. Open the page again.\n',
}
const REFUSED: BrowserAnswer = {
  status: 403,
  headers: {},
  body: 'The login was refused. The log of the server says why.\n',
}
const LOGGED_OUT_HERE: LoginPage = {
  title: 'Logged out',
  html: '<h1>You are logged out here</h1><p>You may still be logged in at the provider.</p><p><a class="button" href="/">Log in again</a></p>',
}

/** The page that leads to the provider. */
function goOn(next: string): LoginPage {
  const html = `<h1>You are logged out here</h1><p><a class="button" href="${escapeHtml(next)}">Log out at the provider too</a></p>`
  return { title: 'Logging out', html, next }
}
