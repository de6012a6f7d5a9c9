import type { IncomingMessage } from 'node:http'
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
  readonly text: string
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
      return { status: 302, headers: { location: url, 'set-cookie': cookie }, text: '' }
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
    const result = await login.prove(`session ${pending.state}${query}`, clientOf(req), 'session', () =>
      flow.finish(pending, query),
    )
    if ('refused' in result) return result.refused === 'wrong' ? REFUSED : UNAVAILABLE
    const old = this.#cookie(req, SESSION)
    if (old !== undefined) sessions.end(old)
    const session = this.#setCookie(req, SESSION, sessions.begin(result.user.name), sessionMs)
    const headers = { location: pending.to, 'set-cookie': [session, this.#setCookie(req, PENDING, '', 0)] }
    return { status: 302, headers, text: '' }
  }

  askLogout(): BrowserAnswer {
    return { status: 200, headers: {}, text: LOGOUT_PAGE }
  }

  logout(req: IncomingMessage): BrowserAnswer {
    const id = this.#cookie(req, SESSION)
    if (id !== undefined) this.#parts.sessions.end(id)
    return { status: 200, headers: { 'set-cookie': this.#setCookie(req, SESSION, '', 0) }, text: LOGGED_OUT }
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
  text: 'Logins are not accepted without encryption; use https.\n',
}
const UNAVAILABLE: BrowserAnswer = {
  status: 503,
  headers: { 'retry-after': '5' },
  text: 'The login is not available at present; try again soon.\n',
}
const TOO_LATE: BrowserAnswer = {
  status: 400,
  headers: {},
  text: 'This login took too long, or began in another browser. Open the page again.\n',
}
const REFUSED: BrowserAnswer = {
  status: 403,
  headers: {},
  text: 'The login was refused. The log of the server says why.\n',
}
const LOGGED_OUT = 'You are logged out here. You may still be logged in at the provider.\n'
const LOGOUT_PAGE =
  '<!doctype html><html lang="en"><title>Log out</title><form method="post" action="/-/logout" enctype="text/plain"><button>Log out</button></form></html>\n'
