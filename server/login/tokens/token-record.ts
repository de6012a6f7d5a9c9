/** What a token may do in its part of a view; `drop`: only add files, without seeing any. */
export const TOKEN_MODES = ['write', 'read', 'drop'] as const
export type TokenMode = (typeof TOKEN_MODES)[number]

/** A token as it is kept. Its secret is not: a client shows it, and its hash is compared. */
export interface TokenRecord {
  /** 12 hexadecimal digits, which name it in commands and lines of the audit. */
  readonly id: string
  /** The login name of its user. */
  readonly user: string
  /** What the user calls it. */
  readonly name: string
  /** SHA-256 of the secret, in base64url. The secret is 192 random bits, so a slow hash would add nothing. */
  readonly digest: string
  /** An app password, which is used with the name of the user; or a link, which is a URL and used by anybody who has it. */
  readonly kind: 'app' | 'link'
  /** The hash of the password that a link asks for. */
  readonly password?: string | undefined
  /** The only view or template that it is for; undefined: all. */
  readonly view: string | undefined
  /** The only path inside the view, as Unicode text; empty: all of it. */
  readonly path: readonly string[]
  readonly mode: TokenMode
  /** Ms since the epoch. */
  readonly createdMs: number
  /** Undefined: it does not expire. */
  readonly expiresMs: number | undefined
}

/** A record of the journal of tokens. */
export type TokenLine =
  | { readonly kind: 'made'; readonly token: TokenRecord }
  | { readonly kind: 'used'; readonly id: string }
  | { readonly kind: 'revoked'; readonly id: string }

export function encodeLine(line: TokenLine): string {
  return JSON.stringify(line)
}

/** Decodes a record; undefined if it is none. */
export function decodeLine(text: string): TokenLine | undefined {
  const value = parse(text)
  if (typeof value !== 'object' || value === null) return undefined
  const { kind, id, token } = value as Record<string, unknown>
  if (kind === 'used' || kind === 'revoked') return typeof id === 'string' ? { kind, id } : undefined
  if (kind !== 'made' || !isToken(token)) return undefined
  // Those of versions without links.
  return { kind, token: { ...token, kind: token.kind ?? 'app' } }
}

function isToken(value: unknown): value is TokenRecord {
  if (typeof value !== 'object' || value === null) return false
  const { id, user, name, digest, kind, password, view, path, mode, createdMs, expiresMs } = value as Record<
    string,
    unknown
  >
  return (
    [id, user, name, digest].every((text) => typeof text === 'string') &&
    [undefined, 'app', 'link'].includes(kind as undefined) &&
    [view, password].every((text) => text === undefined || typeof text === 'string') &&
    Array.isArray(path) &&
    path.every((segment) => typeof segment === 'string') &&
    TOKEN_MODES.some((known) => known === mode) &&
    Number.isSafeInteger(createdMs) &&
    (expiresMs === undefined || Number.isSafeInteger(expiresMs))
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
