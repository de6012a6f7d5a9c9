import type { Logger } from 'pino'
import type { OidcSettings } from '../../../config/index.ts'
import type { ProvedUser } from './bearer-tokens.ts'
import { ClaimError, userOfClaims } from './claims.ts'
import type { OidcUsers } from './oidc-users.ts'
import { type Provider, ProviderDown } from './provider.ts'
import type { Sealer } from './sealed-text.ts'

/** How long a person may take to log in at the provider. */
export const LOGIN_MS = 600_000
/** Where the provider sends the browser back to. */
export const CALLBACK_PATH = '/-/login/callback'

/** Where the provider sends the browser back to after a logout. */
export const LOGGED_OUT_PATH = '/-/logout/done'

/** A user who logged in at the provider, and the ID token that says so. */
export interface BrowserUser extends ProvedUser {
  readonly idToken: string | undefined
}

/** A login that waits for the provider. The browser keeps it, sealed, so that nobody can fill the memory of the server with them. */
interface PendingLogin {
  readonly verifier: string
  readonly state: string
  readonly nonce: string
  readonly origin: string
  /** The path that was asked for. */
  readonly to: string
  readonly untilMs: number
}

/** What the login of browsers needs. */
export interface CodeFlowParts {
  readonly settings: OidcSettings
  readonly provider: Provider
  readonly users: OidcUsers
  readonly sealer: Sealer
  readonly log: Logger
  /** A monotonic clock, in ms. */
  readonly now: () => number
}

/** The login of browsers at the provider: the authorization code flow with PKCE, state and nonce (OpenID Connect Core section 3.1, RFC 7636). */
export class CodeFlow {
  readonly #parts: CodeFlowParts

  constructor(parts: CodeFlowParts) {
    this.#parts = parts
  }

  /** Whether the provider answers. Never rejects. */
  isUp(): Promise<boolean> {
    return this.#parts.provider.isUp()
  }

  /** Where to send a browser that asked for `to`, and what it must keep meanwhile. @throws ProviderDown */
  async begin(origin: string, to: string): Promise<{ readonly url: string; readonly pending: string }> {
    const { settings, provider, sealer, now } = this.#parts
    const configuration = await provider.configuration()
    const client = await import('openid-client')
    const verifier = client.randomPKCECodeVerifier()
    const [state, nonce] = [client.randomState(), client.randomNonce()]
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: `${origin}${CALLBACK_PATH}`,
      scope: settings.scopes.join(' '),
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...{ state, nonce },
    })
    const login: PendingLogin = { ...{ verifier, state, nonce, origin, to }, untilMs: now() + LOGIN_MS }
    return { url: url.href, pending: sealer.seal(JSON.stringify(login)) }
  }

  /** The login that a browser kept; undefined if it is none of this run, or too old. */
  pendingOf(sealed: string | undefined): PendingLogin | undefined {
    const text = sealed === undefined ? undefined : this.#parts.sealer.open(sealed)
    const login = text === undefined ? undefined : (JSON.parse(text) as PendingLogin)
    return login !== undefined && login.untilMs > this.#parts.now() ? login : undefined
  }

  /** Whom the provider says that the browser is. `query`: that of the callback, with its question mark. Never rejects. */
  async finish({ origin, ...pending }: PendingLogin, query: string): Promise<BrowserUser | 'wrong' | 'unavailable'> {
    const { settings, provider, users, log } = this.#parts
    try {
      const configuration = await provider.configuration()
      const client = await import('openid-client')
      const tokens = await client.authorizationCodeGrant(configuration, new URL(`${origin}${CALLBACK_PATH}${query}`), {
        pkceCodeVerifier: pending.verifier,
        expectedState: pending.state,
        expectedNonce: pending.nonce,
        idTokenExpected: true,
      })
      const claims = tokens.claims()
      if (claims === undefined) return 'wrong'
      const hasInfo = configuration.serverMetadata().userinfo_endpoint !== undefined
      const info = hasInfo ? await client.fetchUserInfo(configuration, tokens.access_token, claims.sub) : {}
      const user = userOfClaims({ ...info, ...claims }, settings)
      await users.keep(user.name, user.groups)
      return { name: user.name, forMs: Number.POSITIVE_INFINITY, idToken: tokens.id_token }
    } catch (error) {
      // The provider says no, or what it says is not for this login.
      const { name } = error as Error
      const answered = ['AuthorizationResponseError', 'ResponseBodyError', 'ClientError', 'OperationProcessingError']
      if (error instanceof ClaimError || answered.includes(name)) {
        log.warn({ reason: (error as Error).message }, 'a login at the provider is refused')
        return 'wrong'
      }
      if (!(error instanceof ProviderDown)) log.warn({ err: error }, 'a login at the provider cannot be finished')
      return 'unavailable'
    }
  }

  /**
   * Where the provider ends the login of a browser (OpenID Connect RP-Initiated Logout 1.0). `hint`: the ID token of the login. Undefined if that is not
   * wanted, the provider does not offer it, or it does not answer. Never rejects.
   */
  async logoutUrl(origin: string, hint: string | undefined): Promise<string | undefined> {
    const { settings, provider } = this.#parts
    if (!settings.providerLogout || !(await provider.isUp())) return undefined
    try {
      const configuration = await provider.configuration()
      if (configuration.serverMetadata().end_session_endpoint === undefined) return undefined
      const client = await import('openid-client')
      const back = { post_logout_redirect_uri: `${origin}${LOGGED_OUT_PATH}` }
      return client.buildEndSessionUrl(configuration, hint === undefined ? back : { ...back, id_token_hint: hint }).href
    } catch {
      return undefined
    }
  }
}
