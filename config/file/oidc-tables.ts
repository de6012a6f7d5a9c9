import { OptionError } from '../../overlay-core/index.ts'
import { isLoopback } from '../address.ts'
import type { OidcSettings } from '../oidc-settings.ts'
import type { Table, ValuesOf } from './key.ts'
import { GRACE } from './quota-keys.ts'
import { SECRET } from './secret-type.ts'
import { PATH } from './server-tables.ts'
import { listType, SWITCH, textType, wholeType } from './value-types.ts'

const ISSUER = textType('"URL"', 'a URL', (text) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const plain =
    url?.protocol === 'http:' && (url.hostname === 'localhost' || isLoopback(url.hostname.replace(/[[\]]/g, '')))
  if (url === undefined || (url.protocol !== 'https:' && !plain) || /[?#@]/.test(text))
    throw new OptionError('issuer', `${JSON.stringify(text)} is not the https URL of a provider; use https://HOST/PATH`)
  return text
})

const CLAIM = textType('"CLAIM"', 'the name of a claim', (text) => {
  if (text !== '' && text.length <= 200) return text
  throw new OptionError('claim', 'is empty or too long; write the name of a claim')
})

const SCOPE = textType('"SCOPE"', 'a scope', (text) => {
  if (/^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/.test(text)) return text
  throw new OptionError('scopes', `${JSON.stringify(text)} is not a scope; write for example "profile"`)
})

export const OIDC = {
  name: 'oidc',
  named: false,
  meaning:
    'The OpenID provider of the source `"oidc"` of `login.sources`. Its tokens are verified with the keys that it publishes. See [users.md](users.md#openid-connect).',
  keys: {
    issuer: {
      type: ISSUER,
      meaning:
        'The URL by which the provider calls itself, exactly as it writes it. Its configuration is below it, at `.well-known/openid-configuration`. Only a provider on loopback may have `http:`.',
      example: '"https://login.example.org/realms/school"',
      required: true,
    },
    audiences: {
      type: listType(CLAIM),
      meaning:
        'Whom Bearer tokens must be made out for: at least one of these must be in their claim `aud`. Without any, Bearer tokens are refused.',
      default: '[]',
      example: '["overlayd"]',
    },
    client_id: {
      type: CLAIM,
      meaning:
        'The id by which the provider knows this server. With it, browsers log in at the provider; it must send them back to `/-/login/callback` at each URL of the server.',
      otherwise: 'browsers do not log in at the provider',
      example: '"overlayd"',
    },
    client_secret: {
      type: SECRET,
      meaning:
        'The secret of `client_id`, from an environment variable. It is not shown by `overlayd config print`. A public client has none.',
      example: `"\${OIDC_SECRET}"`,
    },
    client_secret_file: {
      type: PATH,
      meaning:
        'A file that contains the secret of `client_id`, instead of `client_secret`. Other users of the machine must not have access to it.',
      example: '"oidc-secret"',
    },
    scopes: {
      type: listType(SCOPE, 1),
      meaning: 'What to ask the provider for when a browser logs in. `openid` must be there.',
      default: '["openid", "profile"]',
      example: '["openid", "profile", "groups"]',
    },
    session: {
      type: GRACE,
      meaning:
        'How long a browser stays logged in, in minutes, hours or days. A restart of the server ends all sessions.',
      default: '"8h"',
    },
    provider_logout: {
      type: SWITCH,
      meaning:
        'Whether the button to log out ends the login at the provider too, where the provider offers that. It must send browsers back to `/-/logout/done` at each URL of the server.',
      default: 'true',
    },
    user_claim: {
      type: CLAIM,
      meaning:
        'The claim with the login name. Choose one that users cannot change and that belongs to nobody else, ever. A dot leads into an object, as in `realm.name`.',
      default: '"preferred_username"',
    },
    groups_claim: {
      type: CLAIM,
      meaning:
        'The claim with a list of the names of groups or roles, for `@GROUP`. A dot leads into an object, as in `realm_access.roles`.',
      default: '"groups"',
    },
    clock_skew: {
      type: wholeType(0, 300, ' of seconds'),
      meaning: 'By how many seconds the clocks of the provider and of this machine may differ.',
      default: '30',
    },
  },
} as const satisfies Table

/** The settings of a table without problems; undefined if a required key is missing. */
export function oidcOf(values: ValuesOf<typeof OIDC.keys> | undefined): OidcSettings | undefined {
  if (values?.issuer === undefined) return undefined
  return {
    issuer: values.issuer.value,
    clientId: values.client_id?.value,
    clientSecret: values.client_secret?.value.secret,
    clientSecretFile: values.client_secret_file?.value,
    scopes: values.scopes?.value ?? ['openid', 'profile'],
    sessionMs: values.session?.value.ms ?? 8 * 3_600_000,
    providerLogout: values.provider_logout?.value ?? true,
    audiences: values.audiences?.value ?? [],
    userClaim: values.user_claim?.value ?? 'preferred_username',
    groupsClaim: values.groups_claim?.value ?? 'groups',
    clockSkewSec: values.clock_skew?.value ?? 30,
  }
}
