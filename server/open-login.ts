import { join } from 'node:path'
import type { Logger } from 'pino'
import { isLoopback, type LoginSettings, type Settings } from '../config/index.ts'
import { steadyClock, systemClock } from './clock.ts'
import { groupsOf, nobody, userByName } from './groups.ts'
import { JournalFile } from './journal-file.ts'
import { logOf } from './log.ts'
import { AppendedFile } from './login/audit-file.ts'
import {
  type AccountSource,
  Audit,
  Callers,
  HttpLogin,
  Login,
  PasswordFile,
  PasswordThread,
  ProxyAccounts,
  RoleList,
  UserIds,
} from './login/index.ts'
import type { PublicNames } from './public-names.ts'
import { systemRandom } from './random.ts'
import type { RunningServer } from './running-server.ts'

const KEY_BYTES = 32

/** The parts of a login that a server keeps until it stops. */
export interface OpenLogin {
  readonly login: Login
  readonly ids: UserIds
  readonly audit: Audit
  readonly settings: LoginSettings
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
  const login = new Login({
    sources: await openSources(given, thread, own),
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
  }
  return { login, ids, audit, settings: given, close }
}

async function openSources(given: LoginSettings, thread: PasswordThread, log: Logger): Promise<AccountSource[]> {
  const sources: AccountSource[] = []
  for (const kind of given.sources) {
    if (kind === 'proxy') sources.push(new ProxyAccounts())
    else sources.push(await PasswordFile.open(given.passwordFile as string, thread, log))
  }
  return sources
}

/** The login of requests over HTTP; undefined if there is no login. */
export async function httpLogin({ login: opened }: RunningServer, names: PublicNames): Promise<HttpLogin | undefined> {
  if (opened === undefined) return undefined
  const { login, audit, settings } = opened
  const isFromProxy = ({ socket }: { readonly socket: { readonly remoteAddress?: string | undefined } }) =>
    names.isProxy(socket.remoteAddress)
  return new HttpLogin({
    login,
    audit,
    callers: new Callers(await callerIds()),
    realm: settings.realm,
    clientOf: (req) => names.clientOf(req),
    isPrivate: (req) => 'encrypted' in req.socket || isLoopback(req.socket.remoteAddress ?? '') || isFromProxy(req),
    userHeader: settings.sources.includes('proxy') ? settings.userHeader : undefined,
    isFromProxy,
    takesPasswords: settings.sources.some((kind) => kind !== 'proxy'),
  })
}

/** Only root can act as another user. */
async function callerIds() {
  const uid = process.geteuid?.() ?? 0
  const { uid: nobodyUid, gid: nobodyGid } = await nobody()
  const own = { uid, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] }
  return { nobody: { uid: nobodyUid, gid: nobodyGid, groups: [] }, all: uid === 0 ? undefined : own }
}
