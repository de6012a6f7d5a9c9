import { join } from 'node:path'
import type { Logger } from 'pino'
import type { OidcSettings } from '../config/index.ts'
import { steadyClock, systemClock } from './clock.ts'
import { JournalFile } from './journal-file.ts'
import { BearerTokens, CodeFlow, OidcUsers, Provider, Sealer, Sessions } from './login/index.ts'
import { systemRandom } from './random.ts'

const KEY_BYTES = 32

/** The parts of a login through an OpenID provider. */
export interface OpenOidc {
  readonly users: OidcUsers
  /** Undefined if no Bearer tokens are accepted. */
  readonly bearer: BearerTokens | undefined
  /** The login of browsers; undefined if they do not log in at the provider. */
  readonly browsers: { readonly flow: CodeFlow; readonly sessions: Sessions; readonly sessionMs: number } | undefined
  close(): Promise<void>
}

/** Opens the users of a provider. Does not connect to it: one that is down must not stop the start. @throws OptionError the state directory cannot be used */
export async function openOidc(settings: OidcSettings, stateDir: string, log: Logger): Promise<OpenOidc> {
  const journal = await JournalFile.open(join(stateDir, 'oidc-users'), 'oidcuser')
  const users = new OidcUsers({ journal, wallNow: systemClock, log })
  const provider = new Provider({ settings, log, now: steadyClock })
  const bearer = new BearerTokens({ settings, provider, users, log, wallNow: systemClock })
  const sealer = new Sealer(systemRandom(KEY_BYTES), systemRandom)
  const flow = new CodeFlow({ settings, provider, users, sealer, log, now: steadyClock })
  const { sessionMs } = settings
  const sessions = new Sessions({ now: steadyClock, random: systemRandom })
  const browsers = settings.clientId === undefined ? undefined : { flow, sessions, sessionMs }
  return { users, browsers, bearer: settings.audiences.length > 0 ? bearer : undefined, close: () => journal.close() }
}
