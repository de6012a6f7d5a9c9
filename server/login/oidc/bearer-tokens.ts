import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import type { Logger } from 'pino'
import type { OidcSettings } from '../../../config/index.ts'
import { ClaimError, userOfClaims } from './claims.ts'
import type { OidcUsers } from './oidc-users.ts'
import { PROVIDER_TIMEOUT_MS, type Provider, ProviderDown } from './provider.ts'

/** Signatures that need no shared secret. `none` is not among them, nor HMAC, whose key would be a public one. */
export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]
const MOST_CHARS = 16_384
/** How long keys are believed, and how often they are fetched again at most, because a token names one that is not among them. */
const KEYS_MS = 600_000
const FETCH_AGAIN_MS = 30_000

/** Whom a token proves, and for how long. */
export interface ProvedUser {
  readonly name: string
  readonly forMs: number
}

/** What tokens are verified with. */
export interface BearerTokenParts {
  readonly settings: OidcSettings
  readonly provider: Provider
  readonly users: OidcUsers
  readonly log: Logger
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
}

/** Verifies Bearer tokens: JWTs that the provider has signed (RFC 7519, RFC 9068). */
export class BearerTokens {
  readonly #parts: BearerTokenParts
  #keys: { readonly url: string; readonly get: JWTVerifyGetKey } | undefined

  constructor(parts: BearerTokenParts) {
    this.#parts = parts
  }

  /** Whom a token proves. `unavailable`: the provider does not tell its keys. Never rejects. */
  async verify(token: string): Promise<ProvedUser | 'wrong' | 'unavailable'> {
    const { settings, users, log, wallNow } = this.#parts
    const jose = await import('jose')
    try {
      if (!this.#isOurs(jose, token)) return 'wrong'
      const { payload } = await jose.jwtVerify(token, await this.#keysOf(jose), this.#checks())
      const user = userOfClaims(payload, settings)
      await users.keep(user.name, user.groups)
      const endsMs = ((payload.exp as number) + settings.clockSkewSec) * 1000
      return { name: user.name, forMs: Math.max(0, endsMs - wallNow()) }
    } catch (error) {
      if (isRefusal(jose, error)) {
        log.info({ reason: (error as Error).message }, 'a token is refused')
        return 'wrong'
      }
      if (!(error instanceof ProviderDown)) log.warn({ err: error }, 'a token cannot be verified at present')
      return 'unavailable'
    }
  }

  #checks() {
    const { settings, wallNow } = this.#parts
    return {
      issuer: settings.issuer,
      audience: [...settings.audiences],
      algorithms: ALGORITHMS,
      clockTolerance: settings.clockSkewSec,
      requiredClaims: ['exp', 'iss', 'aud'],
      currentDate: new Date(wallNow()),
    }
  }

  /** Whether a token says that it is for this server and still valid. What does not even say so costs no signature and no request to the provider. */
  #isOurs(jose: typeof import('jose'), token: string): boolean {
    const { settings, wallNow } = this.#parts
    if (token.length > MOST_CHARS) return false
    let payload: JWTPayload
    try {
      if (!ALGORITHMS.includes(jose.decodeProtectedHeader(token).alg ?? '')) return false
      payload = jose.decodeJwt(token)
    } catch {
      return false
    }
    const { iss, aud, exp } = payload
    const named = settings.audiences.some((audience) =>
      Array.isArray(aud) ? aud.includes(audience) : aud === audience,
    )
    return (
      iss === settings.issuer && named && typeof exp === 'number' && (exp + settings.clockSkewSec) * 1000 > wallNow()
    )
  }

  /** The keys of the provider, which are fetched when they are needed. @throws ProviderDown */
  async #keysOf(jose: typeof import('jose')): Promise<JWTVerifyGetKey> {
    const configuration = await this.#parts.provider.configuration()
    const url = configuration.serverMetadata().jwks_uri
    if (url === undefined) throw new ProviderDown('the provider publishes no keys')
    if (this.#keys?.url !== url) {
      const times = { cacheMaxAge: KEYS_MS, cooldownDuration: FETCH_AGAIN_MS, timeoutDuration: PROVIDER_TIMEOUT_MS }
      this.#keys = { url, get: jose.createRemoteJWKSet(new URL(url), times) }
    }
    return this.#keys.get
  }
}

/** Whether an error is about the token, and not about reaching the provider. */
function isRefusal({ errors }: typeof import('jose'), error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof ProviderDown) return false
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) return true
  // The answer of the provider, not the token, was no set of keys.
  if (error instanceof errors.JWKSInvalid) return false
  if (error instanceof errors.JOSEError) return error.code !== 'ERR_JOSE_GENERIC'
  return error instanceof ClaimError
}
