import { join } from 'node:path'
import type { Logger } from 'pino'
import type { OidcSettings } from '../config/index.ts'
import { steadyClock, systemClock } from './clock.ts'
import { JournalFile } from './journal-file.ts'
import { BearerTokens, OidcUsers, Provider } from './login/index.ts'

/** The parts of a login through an OpenID provider. */
export interface OpenOidc {
  readonly users: OidcUsers
  /** Undefined if no Bearer tokens are accepted. */
  readonly bearer: BearerTokens | undefined
  close(): Promise<void>
}

/** Opens the users of a provider. Does not connect to it: one that is down must not stop the start. @throws OptionError the state directory cannot be used */
export async function openOidc(settings: OidcSettings, stateDir: string, log: Logger): Promise<OpenOidc> {
  const journal = await JournalFile.open(join(stateDir, 'oidc-users'), 'oidcuser')
  const users = new OidcUsers({ journal, wallNow: systemClock, log })
  const provider = new Provider({ settings, log, now: steadyClock })
  const bearer = new BearerTokens({ settings, provider, users, log, wallNow: systemClock })
  return { users, bearer: settings.audiences.length > 0 ? bearer : undefined, close: () => journal.close() }
}
