import { OptionError } from '../../overlay-core/index.ts'
import type { LdapSettings, LdapUrl } from '../ldap-settings.ts'
import type { Table, ValuesOf } from './key.ts'
import { SECRET } from './secret-type.ts'
import { PATH } from './server-tables.ts'
import { listType, SWITCH, textType, wholeType } from './value-types.ts'

const PORTS = { 'ldap:': 389, 'ldaps:': 636 }

/** The URL of a server, without a path. */
const LDAP_URL = textType('"ldap://HOST[:PORT]"|"ldaps://HOST[:PORT]"', 'a URL', parseUrl)

function parseUrl(text: string): LdapUrl {
  const url = /^ldaps?:\/\/[^/?#@]+\/?$/.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.hostname === '')
    throw new OptionError('urls', `${JSON.stringify(text)} is not the URL of a server; use ldaps://HOST or ldap://HOST`)
  const port = url.port === '' ? PORTS[url.protocol as keyof typeof PORTS] : Number(url.port)
  return { text, host: url.hostname.replace(/^\[|\]$/g, ''), port, encrypted: url.protocol === 'ldaps:' }
}

/** The name of an attribute (RFC 4512 section 2.5). */
const ATTRIBUTE = textType('"ATTRIBUTE"', 'the name of an attribute', parseAttribute)
const ATTRIBUTE_OR_OFF = textType('"ATTRIBUTE"|"off"', 'the name of an attribute', (text) => parseAttribute(text))

function parseAttribute(text: string): string {
  if (/^([A-Za-z][A-Za-z0-9-]{0,127}|\d{1,9}(\.\d{1,9}){1,31})$/.test(text)) return text
  throw new OptionError('attribute', `${JSON.stringify(text)} is not the name of an attribute; use for example "uid"`)
}

const NAME = textType('"NAME"', 'a distinguished name', (text) => {
  if (/^\s*([A-Za-z][A-Za-z0-9-]*|[\d.]+)\s*=/.test(text)) return text
  throw new OptionError(
    'name',
    `${JSON.stringify(text)} is not a distinguished name; use for example "dc=example,dc=org"`,
  )
})

/** A filter with at least one of the placeholders. */
const filter = (...placeholders: readonly string[]) =>
  textType('"FILTER"', 'a filter', (text) => {
    if (!/^\(.*\)$/s.test(text) || text.split('(').length !== text.split(')').length)
      throw new OptionError('filter', `${JSON.stringify(text)} is not in parentheses; use for example "(uid={user})"`)
    if (placeholders.some((word) => text.includes(word))) return text
    throw new OptionError(
      'filter',
      `${JSON.stringify(text)} finds the same for everybody; write ${placeholders.join(' or ')} into it`,
    )
  })

export const LDAP = {
  name: 'ldap',
  named: false,
  meaning:
    'The directory of the source `"ldap"` of `login.sources`. A user is searched for by name, and the password is verified by a bind as the object that is found. See [users.md](users.md#ldap).',
  keys: {
    urls: {
      type: listType(LDAP_URL, 1),
      meaning: 'The servers. The first is asked; if it does not answer, the next.',
      example: '["ldaps://ldap.example.org"]',
      required: true,
    },
    start_tls: {
      type: SWITCH,
      meaning:
        'Whether a connection to `ldap://` is encrypted by StartTLS before anything else is said. Only a server on loopback may go without.',
      default: 'true',
    },
    ca_file: {
      type: PATH,
      meaning:
        'A file with the certificates, in PEM, of the authorities that may have signed that of the server. It is read at each new connection.',
      otherwise: 'the authorities that Node trusts',
      example: '"/etc/ssl/certs/example-ca.pem"',
    },
    bind_dn: {
      type: NAME,
      meaning: 'The distinguished name that searches. Without it, searches are anonymous.',
      example: '"cn=overlayd,ou=services,dc=example,dc=org"',
    },
    bind_password: {
      type: SECRET,
      meaning: 'The password of `bind_dn`, from an environment variable. It is not shown by `overlayd config print`.',
      example: `"\${LDAP_PASSWORD}"`,
    },
    bind_password_file: {
      type: PATH,
      meaning:
        'A file that contains the password of `bind_dn`, instead of `bind_password`. Other users of the machine must not have access to it. It is read at each new connection.',
      example: '"ldap-password"',
    },
    base: {
      type: NAME,
      meaning: 'The object below which users are.',
      example: '"ou=people,dc=example,dc=org"',
      required: true,
    },
    user_filter: {
      type: filter('{user}'),
      meaning:
        'Finds the object of a user. `{user}` stands for the name that was given. Nothing in a name can change the filter. If several objects match, nobody is logged in.',
      default: '"(uid={user})"',
      example: '"(&(objectClass=person)(|(uid={user})(mail={user})))"',
    },
    name_attribute: {
      type: ATTRIBUTE,
      meaning: 'The attribute with the login name. A user has the name that stands there, however it was given.',
      default: '"uid"',
      example: '"sAMAccountName"',
    },
    group_attribute: {
      type: ATTRIBUTE_OR_OFF,
      meaning:
        'The attribute of a user with the distinguished names of its groups. A group is called by the first part of its name: `cn=staff,ou=groups,dc=example,dc=org` is `@staff`. `"off"`: not read.',
      default: '"memberOf"',
    },
    group_base: {
      type: NAME,
      meaning:
        'The object below which groups are; others do not count. Set it if anybody but the administrators of the directory may make groups.',
      otherwise: 'anywhere; a search with `group_filter` starts at `base`',
      example: '"ou=groups,dc=example,dc=org"',
    },
    group_filter: {
      type: filter('{user}', '{dn}'),
      meaning:
        'Finds the groups of a user, for directories without `memberOf`. `{user}` stands for its login name, `{dn}` for its distinguished name.',
      otherwise: 'no search',
      example: '"(|(memberUid={user})(member={dn}))"',
    },
    group_name_attribute: {
      type: ATTRIBUTE,
      meaning: 'The attribute with the name of a group that `group_filter` has found.',
      default: '"cn"',
    },
    uid_attribute: {
      type: ATTRIBUTE_OR_OFF,
      meaning:
        'The attribute with the user id, a number from 1000 on. A user without it gets an id as `login.ids` says. `"off"`: all do.',
      default: '"uidNumber"',
    },
    gid_attribute: {
      type: ATTRIBUTE,
      meaning: 'The attribute with the group id, of users with a user id and of groups that `group_filter` has found.',
      default: '"gidNumber"',
    },
    quota_attribute: {
      type: ATTRIBUTE,
      meaning:
        'The attribute with the maximum size of all views of a user together, in bytes or with `K`, `M`, `G` or `T`. It replaces `users.quota` for this user.',
      otherwise: 'not read',
      example: '"overlaydQuota"',
    },
    timeout: {
      type: wholeType(1, 60, ' of seconds'),
      meaning:
        'How many seconds a server may take for a login. Then the next is asked; a server that did not answer is left alone for three seconds.',
      default: '5',
    },
  },
} as const satisfies Table

/** The settings of a table without problems; undefined if a required key is missing. */
export function ldapOf(values: ValuesOf<typeof LDAP.keys> | undefined): LdapSettings | undefined {
  if (values?.urls === undefined || values.base === undefined) return undefined
  const orOff = (given: { readonly value: string } | undefined, usual: string) => {
    const name = given?.value ?? usual
    return name === 'off' ? undefined : name
  }
  return {
    urls: values.urls.value,
    startTls: values.start_tls?.value ?? true,
    caFile: values.ca_file?.value,
    bindDn: values.bind_dn?.value,
    bindPassword: values.bind_password?.value.secret,
    bindPasswordFile: values.bind_password_file?.value,
    base: values.base.value,
    userFilter: values.user_filter?.value ?? '(uid={user})',
    nameAttribute: values.name_attribute?.value ?? 'uid',
    groupAttribute: orOff(values.group_attribute, 'memberOf'),
    groupBase: values.group_base?.value,
    groupFilter: values.group_filter?.value,
    groupNameAttribute: values.group_name_attribute?.value ?? 'cn',
    uidAttribute: orOff(values.uid_attribute, 'uidNumber'),
    gidAttribute: values.gid_attribute?.value ?? 'gidNumber',
    quotaAttribute: values.quota_attribute?.value,
    timeoutMs: (values.timeout?.value ?? 5) * 1000,
  }
}
