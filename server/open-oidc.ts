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
  /** The same users, logins and sessions with other settings; sessions of another provider end when `begin` is called. */
  with(settings: OidcSettings): OpenOidc
  /** Called when these settings come into effect. */
  begin(): void
  close(): Promise<void>
}

/** What stays when settings change. */
interface OidcState {
  readonly journal: JournalFile
  readonly users: OidcUsers
  readonly sealer: Sealer
  readonly sessions: Sessions
  /** Who says who the users of the sessions are. */
  provider: string
}

/** Opens the users of a provider. Does not connect to it: one that is down must not stop the start. @throws OptionError the state directory cannot be used */
export async function openOidc(settings: OidcSettings, stateDir: string, log: Logger): Promise<OpenOidc> {
  const journal = await JournalFile.open(join(stateDir, 'oidc-users'), 'oidcuser')
  const users = new OidcUsers({ journal, wallNow: systemClock, log })
  const sealer = new Sealer(systemRandom(KEY_BYTES), systemRandom)
  const sessions = new Sessions({ now: steadyClock, random: systemRandom })
  const state = { journal, users, sealer, sessions, provider: providerOf(settings) }
  return oidcWith(state, settings, log)
}

function oidcWith(state: OidcState, settings: OidcSettings, log: Logger): OpenOidc {
  const { users, sealer, sessions, journal } = state
  const provider = new Provider({ settings, log, now: steadyClock })
  const bearer = new BearerTokens({ settings, provider, users, log, wallNow: systemClock })
  const flow = new CodeFlow({ settings, provider, users, sealer, log, now: steadyClock })
  const { sessionMs } = settings
  return {
    users,
    browsers: settings.clientId === undefined ? undefined : { flow, sessions, sessionMs },
    bearer: settings.audiences.length > 0 ? bearer : undefined,
    with: (next) => oidcWith(state, next, log),
    begin: () => {
      // A name of another provider, or of another claim, may be that of somebody else.
      if (state.provider !== providerOf(settings)) sessions.endAll()
      state.provider = providerOf(settings)
    },
    close: () => journal.close(),
  }
}

function providerOf({ issuer, clientId, userClaim }: OidcSettings): string {
  return JSON.stringify([issuer, clientId, userClaim])
}
