import type { IncomingMessage } from 'node:http'
import type { Caller, PageAccount } from '../../protocols/webdav/index.ts'
import type { Role } from './api/roles.ts'
import type { Audit } from './audit.ts'
import type { BrowserLogin } from './browser-login.ts'
import type { Callers } from './callers.ts'
import type { Login, LoginResult, User } from './login.ts'
import type { BearerTokens } from './oidc/bearer-tokens.ts'

/** Longer credentials are refused: no account has such ones. */
const MOST_FIELD_CHARS = 4096

/** How long the answer to a wrong password waits. */
export const WRONG_PASSWORD_MS = 500
/** Where users see their app passwords and links, and where they log out. */
export const ACCESS_PATH = '/-/access'
/** Where users see what they have changed in their own view of a template: `/-/mine/TEMPLATE`. */
export const MINE_PATH = '/-/mine'
export const LOGOUT_PATH = '/-/logout'

/** A response instead of the requested one. */
export interface LoginRefusal {
  readonly status: 302 | 401 | 403 | 404 | 429 | 503
  readonly headers: Readonly<Record<string, string>>
  /** One line. */
  readonly reason: string
  /** Whether it comes later, so that guessing takes time. */
  readonly delayed: boolean
}

/** What the login of requests needs. */
export interface HttpLoginParts {
  readonly login: Login
  readonly callers: Callers
  readonly audit: Audit
  readonly realm: string
  /** The address of the client, also behind a trusted proxy. */
  readonly clientOf: (req: IncomingMessage) => string
  /** Whether nobody between the client, or a trusted proxy, and this server can read the request. */
  readonly isPrivate: (req: IncomingMessage) => boolean
  /** The field in which a trusted proxy names the user, in lower case; undefined if none does. */
  readonly userHeader: string | undefined
  readonly isFromProxy: (req: IncomingMessage) => boolean
  /** Verifies the tokens of a provider; undefined if there is none. */
  readonly bearer?: Pick<BearerTokens, 'verify'> | undefined
  /** The user in the certificate of the client; undefined if there is none. */
  readonly userInCertificate: (req: IncomingMessage) => string | undefined
  /** The sessions of browsers; undefined if there are none. */
  readonly browsers?: Pick<BrowserLogin, 'userOf' | 'isStale' | 'redirectFor'> | undefined
  /** Whether any source knows passwords. */
  readonly takesPasswords: boolean
}

/** Finds out who sent a request. */
export class HttpLogin {
  #parts: HttpLoginParts
  readonly #users = new WeakMap<IncomingMessage, User>()
  /** The secrets of the links that requests came by. */
  readonly #links = new WeakMap<IncomingMessage, string>()
  /** The requests of browsers with a session. */
  readonly #bySession = new WeakSet<IncomingMessage>()
  #challenge: LoginRefusal

  constructor(parts: HttpLoginParts) {
    this.#parts = parts
    this.#challenge = challengeOf(parts)
  }

  /** Takes other settings from now on. */
  change(changed: Partial<HttpLoginParts>): void {
    this.#parts = { ...this.#parts, ...changed }
    this.#challenge = challengeOf(this.#parts)
  }

  /** The caller of a request that was let in. */
  callerOf(req: IncomingMessage): Caller {
    return this.#parts.callers.of(this.#userOf(req), this.#links.get(req))
  }

  /** The name and roles of the user of a request that was let in, and the id of the token that it came with. */
  userOf(req: IncomingMessage): {
    readonly user: string
    readonly token: string | undefined
    readonly roles: readonly Role[]
  } {
    const { name, token, roles } = this.#userOf(req)
    return { user: name, token: token?.id, roles }
  }

  /** What pages show of the user of a request that was let in: nothing to the visitor of a link. */
  accountOf(req: IncomingMessage): PageAccount | undefined {
    if (this.#links.has(req)) return undefined
    const { name, token } = this.#userOf(req)
    const atOnce = this.#bySession.has(req)
    const leaves = atOnce || credentialsOf(req.headers.authorization) !== undefined
    return {
      user: name,
      // A token neither shows nor makes tokens.
      access: token === undefined ? ACCESS_PATH : undefined,
      mine: token === undefined ? MINE_PATH : undefined,
      logout: leaves ? { path: LOGOUT_PATH, atOnce } : undefined,
    }
  }

  /** The field that asks for a password; undefined if passwords are not taken. */
  get challenge(): string | undefined {
    return this.#challenge.headers['www-authenticate']
  }

  /** Notes that a user asked for something that it may not do. */
  refused(req: IncomingMessage, what: string): void {
    this.#parts.audit.refused(this.#userOf(req).name, this.addressOf(req), what)
  }

  /** The address of the client, also behind a trusted proxy. */
  addressOf(req: IncomingMessage): string {
    return this.#parts.clientOf(req)
  }

  #userOf(req: IncomingMessage): User {
    const user = this.#users.get(req)
    if (user === undefined) throw new Error('a request passed without a login')
    return user
  }

  /** Lets a request in, or says how it is refused. At once if its credentials were verified less than a minute ago. Never rejects. */
  letIn(req: IncomingMessage): LoginRefusal | undefined | Promise<LoginRefusal | undefined> {
    const { isPrivate, login } = this.#parts
    if (!isPrivate(req)) return NOT_PRIVATE
    const link = LINK.exec(req.url ?? '')?.[1]
    if (link !== undefined) return this.#throughLink(req, link)
    const field = req.headers.authorization
    const known = field === undefined ? undefined : login.remembered(field)
    if (known === undefined) return this.#identify(req, field)
    this.#users.set(req, known)
    return undefined
  }

  /** Anybody who has a link is let in, with its password if it has one. */
  async #throughLink(req: IncomingMessage, secret: string): Promise<LoginRefusal | undefined> {
    const { login, clientOf, realm } = this.#parts
    const token = login.link(secret)
    if (token === undefined) return NO_LINK
    const result = await login.verifyLink(token, credentialsOf(req.headers.authorization)?.secret, clientOf(req))
    if ('user' in result) {
      this.#users.set(req, result.user)
      this.#links.set(req, secret)
      return undefined
    }
    const refusal = this.#refusal(result)
    if (result.refused !== 'wrong') return refusal
    // Its user is gone.
    if (token.password === undefined) return NO_LINK
    const headers = { 'www-authenticate': `Basic realm="${realm}, link ${token.id}", charset="UTF-8"` }
    return { ...refusal, status: 401, headers, reason: 'This link needs a password; any name will do.' }
  }

  async #identify(req: IncomingMessage, field: string | undefined): Promise<LoginRefusal | undefined> {
    const { login, audit, clientOf } = this.#parts
    const { userInCertificate } = this.#parts
    const fromProxy = this.#nameFromProxy(req)
    // Who sends a password beside a certificate wants to be that user.
    const named = fromProxy ?? (field === undefined ? userInCertificate(req) : undefined)
    const asked = named === undefined ? credentialsOf(field) : undefined
    const address = clientOf(req)
    const token = named === undefined && asked === undefined ? bearerOf(field) : undefined
    if (token !== undefined && this.#parts.bearer !== undefined) return await this.#proveBy(token, req, address)
    if (named === undefined && asked === undefined) return await this.#letInBySession(req, field)
    const result =
      named === undefined
        ? await login.verify(field as string, asked!.name, asked!.secret, address)
        : await login.lookup(named)
    if (!('user' in result)) return this.#refusal(result)
    if (named !== undefined) audit.seen(result.user, address, fromProxy === undefined ? 'certificate' : 'proxy')
    this.#users.set(req, result.user)
    return undefined
  }

  /** Lets in a browser with a session; sends one without to the provider. */
  async #letInBySession(req: IncomingMessage, field: string | undefined): Promise<LoginRefusal | undefined> {
    const { browsers, login } = this.#parts
    const name = field === undefined ? browsers?.userOf(req) : undefined
    const result = name === undefined ? undefined : await login.lookup(name)
    if (result !== undefined && 'user' in result) {
      this.#users.set(req, result.user)
      this.#bySession.add(req)
      return undefined
    }
    if (result !== undefined && result.refused !== 'wrong') return this.#refusal(result)
    if (field === undefined && browsers?.isStale(req)) return SESSION_ENDED
    const location = await browsers?.redirectFor(req)
    if (location === undefined) return this.#challenge
    return { status: 302, headers: { location, 'cache-control': 'no-store' }, reason: 'Log in first.', delayed: false }
  }

  async #proveBy(token: string, req: IncomingMessage, address: string): Promise<LoginRefusal | undefined> {
    const { login, bearer, realm } = this.#parts
    const field = req.headers.authorization as string
    const result = await login.prove(field, address, 'bearer', async () => (await bearer?.verify(token)) ?? 'wrong')
    if ('user' in result) {
      this.#users.set(req, result.user)
      return undefined
    }
    if (result.refused !== 'wrong') return this.#refusal(result)
    // RFC 6750 section 3.
    const headers = { 'www-authenticate': `Bearer realm="${realm}", error="invalid_token"` }
    return { status: 401, headers, reason: 'The token is not valid here.', delayed: true }
  }

  /** The user that a trusted proxy names; undefined if there is none, or if anybody else sent the field. */
  #nameFromProxy(req: IncomingMessage): string | undefined {
    const { userHeader, isFromProxy } = this.#parts
    if (userHeader === undefined || !isFromProxy(req)) return undefined
    const value = req.headers[userHeader]
    return typeof value === 'string' && value !== ''
      ? Buffer.from(value, 'latin1').toString('utf8').normalize('NFC')
      : undefined
  }

  #refusal(result: Exclude<LoginResult, { user: unknown }>): LoginRefusal {
    if (result.refused === 'wrong')
      return { ...this.#challenge, reason: 'The name or the password is wrong.', delayed: true }
    const headers = { 'retry-after': String(result.retryAfterSec) }
    if (result.refused === 'too many')
      return { status: 429, headers, reason: 'Too many wrong passwords; wait a little.', delayed: false }
    return { status: 503, headers, reason: 'Passwords cannot be checked at present; try again soon.', delayed: false }
  }
}

/** The answer to a request without a login. */
function challengeOf({ takesPasswords, realm }: HttpLoginParts): LoginRefusal {
  return {
    status: takesPasswords ? 401 : 403,
    headers: takesPasswords ? { 'www-authenticate': `Basic realm="${realm}", charset="UTF-8"` } : {},
    reason: takesPasswords ? 'A name and a password are needed.' : 'The proxy named no user.',
    delayed: false,
  }
}

/** A path below a link: `/~SECRET/…`. */
const LINK = /^\/+(?:~|%7e)([A-Za-z0-9_-]{32})(?:[/?]|$)/i

const NO_LINK: LoginRefusal = {
  status: 404,
  headers: {},
  reason: 'This link does not exist or has expired.',
  delayed: true,
}

/** Browsers do not know this scheme, so they ask for no password. */
const SESSION_ENDED: LoginRefusal = {
  status: 401,
  headers: { 'www-authenticate': 'Session realm="overlayd"' },
  reason: 'Your session has ended; open the page again.',
  delayed: false,
}

const NOT_PRIVATE: LoginRefusal = {
  status: 403,
  headers: {},
  reason: 'Passwords are not accepted without encryption; use https.',
  delayed: false,
}

/** The token of a Bearer field (RFC 6750 section 2.1); undefined if it is none. */
function bearerOf(field: string | undefined): string | undefined {
  return field === undefined ? undefined : /^bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(field)?.[1]
}

/** The name and secret of a Basic field (RFC 7617); undefined if it is none. */
export function credentialsOf(
  field: string | undefined,
): { readonly name: string; readonly secret: string } | undefined {
  if (field === undefined || field.length > MOST_FIELD_CHARS) return undefined
  const encoded = /^basic +([A-Za-z0-9+/_-]+={0,2}) *$/i.exec(field)?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const at = text.indexOf(':')
  return at < 0 ? undefined : { name: text.slice(0, at).normalize('NFC'), secret: text.slice(at + 1) }
}
