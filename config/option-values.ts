import { OptionError } from '../overlay-core/index.ts'
import { formatAddress, isLoopback } from './address.ts'
import {
  type Address,
  LOCK_POLICIES,
  LOG_LEVELS,
  type LockPolicy,
  type LoginSettings,
  type LogLevel,
  type Settings,
  SYMLINK_POLICIES,
  type SymlinkPolicy,
} from './settings.ts'

/** Parses `UID:GID`, or `root` or `0` for 0:0. Ids are below 2^32 - 1, which means "no user" (chown(2)). Only root can act for others. @throws OptionError */
export function parseIdentity(text: string | undefined, ownUid: number | undefined): Settings['as'] {
  if (text === undefined) return undefined
  const match = /^(\d{1,10}):(\d{1,10})$/.exec(text === 'root' || text === '0' ? '0:0' : text)
  const uid = Number(match?.[1])
  const gid = Number(match?.[2])
  if (match === null || uid >= 0xffff_ffff || gid >= 0xffff_ffff) {
    throw new OptionError(
      '--as',
      `${JSON.stringify(text)} is neither UID:GID nor root; use two numbers, for example 1000:1000`,
    )
  }
  if (ownUid !== 0 && uid !== ownUid) {
    throw new OptionError('--as', `only root can act as another user (${uid}); remove --as, or run the server as root`)
  }
  return { uid, gid }
}

/** Parses a number of seconds and returns milliseconds. @throws OptionError */
export function parseGrace(text: string): number {
  const seconds = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds >= 1 && seconds <= 3600)) {
    throw new OptionError('--lock-grace', `${JSON.stringify(text)} is not a number of seconds; use 1 to 3600`)
  }
  return seconds * 1000
}

/** Returns the word of `words` that equals `text`. `complaint` completes the error message after the given text. */
function oneOf<Word extends string>(option: string, text: string, words: readonly Word[], complaint: string): Word {
  const found = words.find((word) => word === text)
  if (found === undefined) throw new OptionError(option, `${JSON.stringify(text)} is ${complaint}`)
  return found
}

/** @throws OptionError */
export function parseLogLevel(text: string): LogLevel {
  return oneOf('--log-level', text, LOG_LEVELS, `not a log level; use ${LOG_LEVELS.join(', ')}`)
}

/** @throws OptionError */
export function parseSymlinks(text: string): SymlinkPolicy {
  return oneOf('--symlinks', text, SYMLINK_POLICIES, `not a symlink policy; use ${SYMLINK_POLICIES.join(', ')}`)
}

/** @throws OptionError */
export function parseLocks(text: string): LockPolicy {
  return oneOf('--locks', text, LOCK_POLICIES, `not a lock policy; use ${LOCK_POLICIES.join(' or ')}`)
}

/** Errors about combinations of listeners; empty if there are none. */
export function listenerErrors({ webdav, nfs, insecureNoAuth, login, rpcbind, portmap, tls }: Settings): OptionError[] {
  const errors: OptionError[] = []
  const complain = (option: string, message: string) => errors.push(new OptionError(option, message))
  if (webdav === undefined && nfs === undefined) {
    complain('--nfs', 'off together with --webdav off disables every listener; enable one')
  }
  const allCertified = tls?.clientCa !== undefined && tls.clients === 'require'
  const hasLogin = login !== undefined || allCertified
  if (webdav !== undefined && !isLoopback(webdav.host) && !insecureNoAuth && !hasLogin) {
    complain(
      '--webdav',
      `${webdav.host} can be reached from other machines, and there is no login; use 127.0.0.1, or require client certificates with --tls-clients require, or add --insecure-no-auth`,
    )
  }
  if (webdav !== undefined && nfs !== undefined && isSame(webdav, nfs)) {
    complain('--nfs', `${formatAddress(nfs.host, nfs.port)} is taken by --webdav; choose another port`)
  }
  if (rpcbind && nfs === undefined) complain('--rpcbind', 'requires NFS; remove it, or remove --nfs off')
  if (portmap && nfs === undefined) complain('--portmap', 'requires NFS; remove it, or remove --nfs off')
  if (portmap && rpcbind) complain('--portmap', 'cannot be combined with --rpcbind; remove one of them')
  return errors
}

/** Errors about the login; empty if there are none. The options are keys of the configuration file. */
export function loginErrors({ login, webdav, insecureNoAuth, trustedProxies, tls }: Settings): OptionError[] {
  const errors: OptionError[] = []
  const complain = (key: string, message: string) => errors.push(new OptionError(key, message))
  if (login === undefined) return errors
  if (insecureNoAuth) complain('--insecure-no-auth', 'contradicts the login; remove it, or remove [login]')
  if (login.sources.includes('file') && login.passwordFile === undefined)
    complain('login.password_file', 'is missing; add password_file = "PATH", or remove "file" from login.sources')
  errors.push(...ldapErrors(login))
  const { oidc } = login
  if (oidc?.clientSecret !== undefined && oidc.clientSecretFile !== undefined)
    complain('oidc.client_secret', 'is given twice; remove it or client_secret_file')
  if (oidc?.scopes.includes('openid') === false) complain('oidc.scopes', 'has no "openid"; add it')
  if (oidc !== undefined && oidc.clientId === undefined && oidc.audiences.length === 0)
    complain('oidc.issuer', 'alone logs nobody in; add client_id for browsers, or audiences for tokens')
  if (login.sources.includes('oidc') && login.oidc === undefined)
    complain('login.sources', '"oidc" needs the table [oidc]; add it with issuer, or remove "oidc"')
  if (login.sources.includes('proxy') && trustedProxies.length === 0)
    complain('login.sources', '"proxy" needs webdav.trusted_proxies; name the addresses of the proxy there')
  if (webdav !== undefined && !isLoopback(webdav.host) && trustedProxies.length === 0 && tls === undefined)
    complain(
      '--webdav',
      `${webdav.host} can be reached from other machines, and passwords would cross the network unencrypted; use 127.0.0.1, or add a certificate in [tls], or name the proxy that encrypts in webdav.trusted_proxies`,
    )
  return errors
}

/** Errors about the directory; empty if there are none. */
function ldapErrors({ sources, ldap }: LoginSettings): OptionError[] {
  const errors: OptionError[] = []
  const complain = (key: string, message: string) => errors.push(new OptionError(key, message))
  if (!sources.includes('ldap')) return errors
  if (ldap === undefined) {
    complain('login.sources', '"ldap" needs the table [ldap]; add it with urls and base, or remove "ldap"')
    return errors
  }
  const { urls, startTls, bindDn, bindPassword, bindPasswordFile } = ldap
  const open = startTls ? undefined : urls.find(({ encrypted, host }) => !encrypted && !isLoopback(host))
  if (open !== undefined)
    complain('ldap.start_tls', `is false, and passwords would go to ${open.text} unencrypted; remove it, or use ldaps:`)
  if (bindPassword !== undefined && bindPasswordFile !== undefined)
    complain('ldap.bind_password', 'is given twice; remove it or bind_password_file')
  if (bindDn !== undefined && bindPassword === undefined && bindPasswordFile === undefined)
    complain('ldap.bind_dn', 'needs a password; add bind_password_file = "PATH"')
  if (bindDn === undefined && (bindPassword ?? bindPasswordFile) !== undefined)
    complain('ldap.bind_password', 'needs the name that it belongs to; add bind_dn = "NAME"')
  return errors
}

function isSame(a: Address, b: Address): boolean {
  return a.port !== 0 && a.port === b.port && a.host === b.host
}

/** The names that views and the named tables of a configuration file may have. */
export const NAME_PATTERN = '^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$'

/**
 * The error in a name; undefined if it is valid. The name is one segment of a URL and of an export path and needs no escaping in either. `-` is reserved
 * for the server.
 */
export function nameError(name: string): string | undefined {
  if (new RegExp(NAME_PATTERN).test(name)) return undefined
  return `${JSON.stringify(name)} is not a valid name; use up to 64 letters, digits, . _ and -, starting with a letter, a digit or _`
}
