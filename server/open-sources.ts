import type { Logger } from 'pino'
import type { LdapSettings, LoginSettings } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { steadyClock } from './clock.ts'
import {
  type AccountSource,
  LdapAccounts,
  PasswordFile,
  type PasswordThread,
  ProxyAccounts,
  readCaFile,
  readSecretFile,
} from './login/index.ts'
import { type OpenOidc, openOidc } from './open-oidc.ts'

/** What sources are opened with. */
export interface SourceParts {
  readonly thread: PasswordThread
  readonly stateDir: string
  readonly log: Logger
  /** What an earlier source `oidc` has left. */
  readonly kept?: OpenOidc | undefined
  /** Whether a file that cannot be read is an error. At the start it is not, because the others shall log in. */
  readonly strict?: boolean
}

/** Opened sources. `kept`: what is to be closed at the end, also if the source `oidc` is not used. */
export interface OpenSources {
  readonly sources: readonly AccountSource[]
  readonly oidc: OpenOidc | undefined
  readonly kept: OpenOidc | undefined
}

/** @throws OptionError a source cannot be opened; none is */
export async function openSources(given: LoginSettings, parts: SourceParts): Promise<OpenSources> {
  const { thread, stateDir, log, strict = false } = parts
  if (strict) await checkSecrets(given)
  const wanted = given.sources.includes('oidc') ? given.oidc : undefined
  const oidc = wanted && (parts.kept?.with(wanted) ?? (await openOidc(wanted, stateDir, log)))
  const sources: AccountSource[] = []
  try {
    for (const kind of given.sources) {
      if (kind === 'proxy') sources.push(new ProxyAccounts())
      else if (kind === 'oidc') sources.push((oidc as OpenOidc).users)
      else if (kind === 'ldap') sources.push(await LdapAccounts.open(given.ldap as LdapSettings, log, steadyClock))
      else sources.push(await openFile(given.passwordFile as string, thread, log, strict))
    }
  } catch (error) {
    for (const source of sources) await source.close()
    throw error
  }
  return { sources, oidc, kept: oidc ?? parts.kept }
}

async function openFile(path: string, thread: PasswordThread, log: Logger, strict: boolean): Promise<PasswordFile> {
  const source = await PasswordFile.open(path, thread, log)
  if (source.readable || !strict) return source
  await source.close()
  throw new OptionError('login.password_file', `${path} cannot be read; the log of the server says why`)
}

/** Reads the files of secrets and certificates that sources will need. @throws OptionError one cannot be used */
async function checkSecrets({ sources, ldap, oidc }: LoginSettings): Promise<void> {
  const check = async (option: string, path: string | undefined, read: (path: string) => Promise<unknown>) => {
    try {
      if (path !== undefined) await read(path)
    } catch (error) {
      throw new OptionError(option, (error as Error).message)
    }
  }
  if (sources.includes('ldap')) {
    await check('ldap.ca_file', ldap?.caFile, readCaFile)
    await check('ldap.bind_password_file', ldap?.bindPasswordFile, readSecretFile)
  }
  if (sources.includes('oidc')) await check('oidc.client_secret_file', oidc?.clientSecretFile, readSecretFile)
}
