import { nearestWord, OptionError } from '../../../overlay-core/index.ts'
import { MOST_PASSWORD_BYTES } from '../passwords/password-hash.ts'
import { TOKEN_MODES, type TokenMode, type TokenRecord } from './token-record.ts'
import { MOST_OF_USER, type TokenStore } from './token-store.ts'

/** A request about the tokens of a user. */
export interface TokenOrder {
  readonly verb: 'make' | 'list' | 'revoke'
  /** The user; for `list` of all users undefined. */
  readonly user?: string
  /** For `make`: what the user calls it. */
  readonly name?: string
  /** For `make`: a view or template, and a path in it. */
  readonly view?: string
  readonly path?: string
  readonly mode?: string
  /** For `make`: `app` by default. */
  readonly kind?: string
  /** For `make`: the password of a link. */
  readonly password?: string
  /** For `make`: seconds until it expires. */
  readonly seconds?: number
  /** For `revoke`. */
  readonly id?: string
}

/** A token as it is shown. */
export interface TokenDescription {
  readonly id: string
  readonly user: string
  readonly name: string
  readonly view: string | null
  readonly path: string
  readonly mode: TokenMode
  readonly kind: TokenRecord['kind']
  /** ISO 8601. */
  readonly created: string
  readonly expires: string | null
  readonly used: boolean
  /** Only when it was made. */
  readonly secret?: string
  /** The path of the URL of a link, when it was made. */
  readonly href?: string
}

/** What the orders need. */
export interface TokenOrderParts {
  readonly tokens: TokenStore
  /** The views and templates that there are. */
  readonly views: () => readonly string[]
  readonly wallNow: () => number
  /** A hash of a password. @throws Error there are too many */
  readonly hash: (password: string) => Promise<string>
}

const MOST_NAME_CHARS = 100
const MOST_PATH_CHARS = 4096
const MOST_SECONDS = 10 * 366 * 86_400

/** Executes a request. @throws OptionError naming `token`; nothing has changed */
export async function executeTokenOrder(parts: TokenOrderParts, order: TokenOrder): Promise<TokenDescription[]> {
  const { tokens } = parts
  if (order.verb === 'list') {
    const found = order.user === undefined ? tokens.list() : tokens.listOf(order.user)
    return found.map((token) => describe(tokens, token))
  }
  if (order.verb === 'revoke') return [await revoke(tokens, order)]
  const { user = '', name = '', kind = 'app', password } = order
  const { mode = kind === 'link' ? 'read' : 'write' } = order
  if (name === '' || name.length > MOST_NAME_CHARS || /\p{C}/u.test(name))
    throw new OptionError('token', `its name must be 1 to ${MOST_NAME_CHARS} characters of text; for example "laptop"`)
  if (!isMode(mode)) throw new OptionError('token', `the mode is one of ${TOKEN_MODES.join(', ')}`)
  if (kind !== 'app' && kind !== 'link') throw new OptionError('token', 'the kind is one of app, link')
  if (kind === 'app' && mode === 'drop')
    throw new OptionError('token', 'only a link can be for adding files only; use the mode read or write')
  if (kind === 'app' && password !== undefined)
    throw new OptionError('token', 'only a link has a password of its own; remove it')
  if (kind === 'link' && order.view === undefined)
    throw new OptionError('token', 'a link needs the view that it leads into; name it')
  const limited = {
    view: viewOf(order, parts.views()),
    path: pathOf(order),
    expiresMs: expiryOf(order, parts.wallNow()),
  }
  const made = await tokens.make({
    ...{ user, name, mode, kind, ...limited },
    password: password === undefined ? undefined : await hashOf(parts, password),
  })
  if (made === undefined)
    throw new OptionError('token', `${user} has ${MOST_OF_USER} tokens already, or all users too many; revoke some`)
  const href = kind === 'link' ? { href: `/~${made.secret}/` } : {}
  return [{ ...describe(tokens, made.token), secret: made.secret, ...href }]
}

async function hashOf({ hash }: TokenOrderParts, password: string): Promise<string> {
  if (password === '' || Buffer.byteLength(password) > MOST_PASSWORD_BYTES)
    throw new OptionError('token', `the password of a link has 1 to ${MOST_PASSWORD_BYTES} bytes; choose another`)
  return await hash(password)
}

async function revoke(tokens: TokenStore, { id = '', user }: TokenOrder): Promise<TokenDescription> {
  const token = tokens.byId(id)
  if (token === undefined || (user !== undefined && token.user !== user))
    throw new OptionError('token', `there is no token ${JSON.stringify(id)}; list them to see their ids`)
  const described = describe(tokens, token)
  await tokens.revoke(token)
  return described
}

function viewOf({ view, path }: TokenOrder, views: readonly string[]): string | undefined {
  if (view === undefined && path !== undefined && path !== '')
    throw new OptionError('token', 'a path needs the view that it is in; name it')
  if (view === undefined || views.includes(view)) return view
  const near = nearestWord(view, views)
  throw new OptionError(
    'token',
    `there is no view ${JSON.stringify(view)}; ${near === undefined ? `the views are: ${views.join(', ')}` : `did you mean ${near}?`}`,
  )
}

function pathOf({ path = '' }: TokenOrder): readonly string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.')
  if (path.length > MOST_PATH_CHARS || names.includes('..') || path.includes('\0'))
    throw new OptionError(
      'token',
      `${JSON.stringify(path.slice(0, 64))} is not a path inside a view; write it without ..`,
    )
  return names
}

function expiryOf({ seconds }: TokenOrder, nowMs: number): number | undefined {
  if (seconds === undefined) return undefined
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > MOST_SECONDS)
    throw new OptionError('token', 'it must expire in a second to ten years; give another time')
  return nowMs + seconds * 1000
}

function isMode(mode: string): mode is TokenMode {
  return TOKEN_MODES.some((known) => known === mode)
}

function describe(tokens: TokenStore, token: TokenRecord): TokenDescription {
  const { id, user, name, view, path, mode, kind, createdMs, expiresMs } = token
  return {
    ...{ id, user, name, mode, kind },
    view: view ?? null,
    path: `/${path.join('/')}`,
    created: new Date(createdMs).toISOString(),
    expires: expiresMs === undefined ? null : new Date(expiresMs).toISOString(),
    used: tokens.isUsed(token),
  }
}
