import { OptionError } from '../../overlay-core/index.ts'
import { isLoopback } from '../address.ts'
import type { OidcSettings } from '../oidc-settings.ts'
import type { Table, ValuesOf } from './key.ts'
import { listType, textType, wholeType } from './value-types.ts'

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
    audiences: values.audiences?.value ?? [],
    userClaim: values.user_claim?.value ?? 'preferred_username',
    groupsClaim: values.groups_claim?.value ?? 'groups',
    clockSkewSec: values.clock_skew?.value ?? 30,
  }
}
