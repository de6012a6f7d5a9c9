import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import Provider from 'oidc-provider'
import type { Test } from 'tap'

/** A running OpenID provider, which logs in anybody by name. */
export interface OpenIdProvider {
  readonly issuer: string
  readonly port: number
  /** How often its keys were fetched. */
  readonly keyFetches: () => number
  /** How many browsers were sent to it to log in. */
  readonly loginsBegun: () => number
  /** What browsers said that were sent to it to log out. */
  readonly logouts: () => readonly Readonly<Record<string, string>>[]
  /** How it answers: as it should, never, or not at all. */
  mode: 'up' | 'slow' | 'down'
  /** Sets where the client `overlayd` may be sent to after a login and after a logout. */
  allow(redirect: string, afterLogout?: string): void
  /** A token with the key of the provider, which is `alice`, for `overlayd` and valid, unless said otherwise. */
  sign(claims?: Readonly<Record<string, unknown>>, header?: { kid?: string; alg?: string }): Promise<string>
}

export const CLIENT_SECRET = 'client-secret-of-the-test'

/** Starts a provider. `groups`: those of each user. */
export async function startProvider(
  t: Pick<Test, 'teardown'>,
  groups: Readonly<Record<string, readonly string[]>> = {},
): Promise<OpenIdProvider> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const issuer = `http://127.0.0.1:${port}`
  const keys = [{ ...(await exportJWK(privateKey)), kid: 'key-1', alg: 'RS256', use: 'sig' }]
  let handle = callbackOf(issuer, keys, [`${issuer}/none`], groups)
  let fetches = 0
  let begun = 0
  const logouts: Record<string, string>[] = []
  const made: OpenIdProvider = {
    ...{
      issuer,
      port,
      mode: 'up' as const,
      keyFetches: () => fetches,
      loginsBegun: () => begun,
      logouts: () => logouts,
    },
    allow: (redirect, afterLogout) => {
      handle = callbackOf(issuer, keys, [redirect], groups, afterLogout)
    },
    sign: (claims = {}, { kid = 'key-1', alg = 'RS256' } = {}) => {
      const now = Math.floor(Date.now() / 1000)
      const usual = { iss: issuer, aud: 'overlayd', sub: '1', preferred_username: 'alice', exp: now + 300, iat: now }
      return new SignJWT({ ...usual, ...claims }).setProtectedHeader({ alg, kid }).sign(privateKey)
    },
  }
  server.on('request', (req, res) => {
    if (made.mode === 'down') return req.socket.destroy()
    if (made.mode === 'slow') return undefined
    if (req.url === '/jwks') fetches++
    if (req.url?.startsWith('/auth?')) begun++
    if (req.url?.startsWith('/session/end?')) logouts.push(Object.fromEntries(new URL(req.url, issuer).searchParams))
    return handle(req, res)
  })
  t.teardown(() => stop(server))
  return made
}

function stop(server: Server): void {
  server.closeAllConnections()
  server.close()
}

function callbackOf(
  issuer: string,
  keys: readonly JWK[],
  redirects: readonly string[],
  groups: Readonly<Record<string, readonly string[]>>,
  afterLogout?: string,
) {
  const client = { client_id: 'overlayd', client_secret: CLIENT_SECRET, redirect_uris: [...redirects] }
  const provider = new Provider(issuer, {
    jwks: { keys: [...keys] },
    clients: [{ ...client, ...(afterLogout !== undefined && { post_logout_redirect_uris: [afterLogout] }) }],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: [...(groups[id] ?? [])] }),
    }),
  })
  return provider.callback()
}
