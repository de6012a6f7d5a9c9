import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { isLoopback, type LoginSettings, type Settings } from '../config/index.ts'
import { actsAsRoot, OptionError, type QuotaLimits } from '../overlay-core/index.ts'
import { steadyClock, systemClock } from './clock.ts'
import { groupsOf, nobody, userByName } from './groups.ts'
import { JournalFile } from './journal-file.ts'
import { logOf } from './log.ts'
import { AppendedFile } from './login/audit-file.ts'
import {
  type AccountIds,
  Audit,
  BrowserLogin,
  Callers,
  executeTokenOrder,
  HttpLogin,
  Login,
  PasswordThread,
  RoleList,
  SALT_BYTES,
  type TokenDescription,
  type TokenOrder,
  TokenStore,
  UserIds,
} from './login/index.ts'
import type { OpenOidc } from './open-oidc.ts'
import { openSources } from './open-sources.ts'
import { PublicNames } from './public-names.ts'
import { systemRandom } from './random.ts'
import type { RunningServer } from './running-server.ts'
import { userInCertificate } from './tls/encrypt-http.ts'

const KEY_BYTES = 32

/** The parts of a login that a server keeps until it stops. */
export interface OpenLogin {
  readonly login: Login
  /** The ids of a name: what its account says, or else the id sources. @throws Error nobody can tell at present */
  idsOf(name: string): Promise<AccountIds | undefined>
  /** What a user may use in all views together; undefined if its account does not say. Never rejects. */
  quotaOf(name: string): Promise<QuotaLimits | undefined | 'unavailable'>
  /** Whether any source knows quotas. */
  readonly hasQuotas: boolean
  readonly audit: Audit
  readonly tokens: TokenStore
  readonly thread: PasswordThread
  /** Undefined without the source `oidc`. */
  readonly oidc: OpenOidc | undefined
  readonly settings: LoginSettings
  /** Takes other settings, apart from `ids`, while logins go on; sessions and tokens stay. @throws OptionError they cannot be used; nothing has changed */
  change(next: LoginSettings): Promise<void>
  close(): Promise<void>
}

/** Opens the sources of accounts; undefined if there is no login. @throws OptionError the state directory cannot be used */
export async function openLogin(settings: Settings, log: Logger): Promise<OpenLogin | undefined> {
  const { login: given, stateDir } = settings
  if (given === undefined) return undefined
  const own = logOf(log, 'login')
  const file = given.auditFile === undefined ? undefined : new AppendedFile(given.auditFile, own)
  const audit = new Audit(own, systemClock, file)
  const thread = new PasswordThread()
  const journal = given.ids.every((source) => source === 'system')
    ? undefined
    : await JournalFile.open(join(stateDir, 'user-ids'), 'userids')
  const ids = new UserIds({ sources: given.ids, nameService: { byName: userByName, groupsOf }, journal, log: own })
  const tokenJournal = await JournalFile.open(join(stateDir, 'login-tokens'), 'logintok')
  const tokens = new TokenStore({ journal: tokenJournal, random: systemRandom, wallNow: systemClock, log: own })
  const parts = { thread, stateDir, log: own }
  const present = { settings: given, ...(await openSources(given, parts)) }
  const login = new Login({
    tokens,
    checkPassword: (client, password, hash) => thread.verify(client, password, hash),
    wallNow: systemClock,
    sources: present.sources,
    ids,
    roles: new RoleList(given),
    audit,
    log: own,
    now: steadyClock,
    key: systemRandom(KEY_BYTES),
  })
  const close = async () => {
    await login.close()
    await thread.close()
    await journal?.close()
    await tokenJournal.close()
    await present.kept?.close()
  }
  const change = async (next: LoginSettings) => {
    const opened = await openSources(next, { ...parts, kept: present.kept, strict: true })
    const moved = next.auditFile !== present.settings.auditFile
    Object.assign(present, opened, { settings: next })
    opened.oidc?.begin()
    const earlier = await login.replace(opened.sources, new RoleList(next))
    for (const source of earlier) await source.close()
    if (moved) await audit.use(next.auditFile === undefined ? undefined : new AppendedFile(next.auditFile, own))
  }
  return {
    ...lookups(login, ids),
    ...{ login, hasQuotas: knowsQuotas(given), audit, tokens, thread, change, close },
    get oidc() {
      return present.oidc
    },
    get settings() {
      return present.settings
    },
  }
}

/** What is asked about a name. */
function lookups(login: Login, ids: UserIds): Pick<OpenLogin, 'idsOf' | 'quotaOf'> {
  return {
    idsOf: async (name) => {
      const found = await login.lookup(name)
      if ('user' in found) return found.user.ids
      if (found.refused !== 'wrong') throw new Error(`the account ${name} cannot be looked up at present; try again`)
      return await ids.byName(name)
    },
    quotaOf: async (name) => {
      const found = await login.lookup(name)
      if (!('user' in found)) return found.refused === 'wrong' ? undefined : 'unavailable'
      const { quotaBytes } = found.user
      return quotaBytes === undefined ? undefined : { hardBytes: quotaBytes }
    },
  }
}

/** Whether accounts may have quotas. */
export function knowsQuotas({ ldap, sources }: LoginSettings): boolean {
  return ldap?.quotaAttribute !== undefined && sources.includes('ldap')
}

/** Makes, lists or revokes tokens. `client`: who asked, for the audit. @throws OptionError naming `token`; nothing has changed */
export async function changeTokens(
  { login: opened, views }: RunningServer,
  order: TokenOrder,
  client: string | undefined,
): Promise<readonly TokenDescription[]> {
  if (opened === undefined)
    throw new OptionError('token', 'this server has no login; add [login] to its configuration file')
  const { login, tokens, audit, thread } = opened
  if (order.verb === 'make') {
    const found = await login.lookup(order.user ?? '')
    if (!('user' in found))
      throw new OptionError('token', `there is no user ${JSON.stringify(order.user)}; see overlayd user list`)
  }
  const hash = (password: string) => thread.hash(password, systemRandom(SALT_BYTES))
  const names = () => views.list().map(({ name }) => name)
  const done = await executeTokenOrder({ tokens, views: names, wallNow: systemClock, hash }, order)
  if (order.verb === 'list') return done
  // What was verified with it must not be remembered.
  if (order.verb === 'revoke') login.forget()
  for (const { id, user, name, view, path, mode, kind, expires } of done)
    audit.token(order.verb === 'make' ? 'made' : 'revoked', {
      ...{ user, client, id, name, path, mode, kind },
      view: view ?? undefined,
      expires: expires ?? undefined,
    })
  return done
}

/** The login of requests over HTTP. */
export interface WebLogin {
  readonly http: HttpLogin
  /** The login of browsers at a provider; undefined if there is none at present. */
  readonly browsers: () => BrowserLogin | undefined
  /** Takes the present settings of the login, and other names and proxies. */
  change(settings: Pick<Settings, 'publicUrls' | 'trustedProxies'>): void
}

/** Opens the login of requests over HTTP; undefined if there is no login. */
export async function openWebLogin(
  { login: opened }: RunningServer,
  names: PublicNames,
  given: Pick<Settings, 'publicUrls'>,
): Promise<WebLogin | undefined> {
  if (opened === undefined) return undefined
  const { login, audit } = opened
  let browsers = browserLogin(opened, names, given.publicUrls)
  const present = () => {
    const { settings, oidc } = opened
    return {
      realm: settings.realm,
      userHeader: settings.sources.includes('proxy') ? settings.userHeader : undefined,
      takesPasswords: settings.sources.some((kind) => kind !== 'proxy'),
      bearer: oidc?.bearer,
      browsers,
    }
  }
  const http = new HttpLogin({
    ...{ login, audit, callers: new Callers(await callerIds()) },
    clientOf: (req) => names.clientOf(req),
    isPrivate: privacyBy(names),
    isFromProxy: ({ socket }) => names.isProxy(socket.remoteAddress),
    userInCertificate: (req) => userInCertificate(req.socket),
    ...present(),
  })
  const change = (next: Pick<Settings, 'publicUrls' | 'trustedProxies'>) => {
    names.change(next)
    browsers = browserLogin(opened, names, next.publicUrls)
    http.change(present())
  }
  return { http, browsers: () => browsers, change }
}

/** What is dangerous about a login, with the mend. */
export function loginWarnings(settings: Pick<Settings, 'login' | 'publicUrls' | 'trustedProxies'>): string[] {
  if (settings.login?.sources.includes('proxy') !== true) return []
  const names = new PublicNames(settings)
  const local = settings.trustedProxies.some(({ address }) => isLoopback(address))
  if (!local && !names.isProxy('127.0.0.1') && !names.isProxy('::1')) return []
  return [
    'every user of this machine can log in as anybody, because "proxy" is in login.sources and webdav.trusted_proxies contains a loopback address; if you do not trust them all, let the proxy connect from another address, such as that of a container, and trust only that',
  ]
}

/** Whether nobody between the client, or a trusted proxy, and this server can read a request. */
function privacyBy(names: PublicNames) {
  return ({ socket }: IncomingMessage) =>
    'encrypted' in socket || isLoopback(socket.remoteAddress ?? '') || names.isProxy(socket.remoteAddress)
}

/** The login of browsers at a provider; undefined if there is none. */
function browserLogin(opened: OpenLogin, names: PublicNames, publicUrls: readonly string[]): BrowserLogin | undefined {
  if (opened.oidc?.browsers === undefined) return undefined
  const origins = publicUrls.map((url) => new URL(url))
  const originOf = ({ headers: { host = '' }, socket }: IncomingMessage) => {
    const declared = origins.find((url) => url.host === host.toLowerCase()) ?? origins[0]
    return declared?.origin ?? `${'encrypted' in socket ? 'https' : 'http'}://${host}`
  }
  const clientOf = (req: IncomingMessage) => names.clientOf(req)
  return new BrowserLogin({
    ...opened.oidc.browsers,
    login: opened.login,
    clientOf,
    isPrivate: privacyBy(names),
    originOf,
  })
}

/** Only root can act as another user. */
async function callerIds() {
  const uid = process.geteuid?.() ?? 0
  const { uid: nobodyUid, gid: nobodyGid } = await nobody()
  const own = { uid, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] }
  return { nobody: { uid: nobodyUid, gid: nobodyGid, groups: [] }, all: actsAsRoot() ? undefined : own }
}
