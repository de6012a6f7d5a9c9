import t from 'tap'
import { printValues, printValuesAsJson } from '../../config/file/effective.ts'
import { formatProblems } from '../../config/file/problems.ts'
import { readConfig } from '../../config/file/read-config.ts'
import type { Environment } from '../../config/index.ts'

const VARIABLES = { LDAP_PASSWORD: 'very-secret', EMPTY: '' }

/** Reads a configuration with these lines in `[ldap]`. */
function read(lines: string, sources = '"ldap"') {
  const text = `
[layers.a]
path = "/a"
[stacks.a]
layers = ["a"]
[views.a]
stack = "a"
upper = "shared"
directory = "/v"
[login]
sources = [${sources}]
${lines}`
  const environment = { uid: 0, cwd: '/', defaultStateDir: '/state', variables: VARIABLES } as Environment
  const config = readConfig(text, {
    ...{ name: 'o.toml', path: '/etc/o.toml', environment, overrides: new Map() },
    exportError: () => undefined,
  })
  return { ...config, text: formatProblems(config.problems.list()) }
}
const ldap = (...lines: string[]) => read(['[ldap]', 'urls = ["ldaps://h"]', 'base = "dc=x"', ...lines].join('\n'))

t.test('a directory', async (t) => {
  const { settings } = ldap()
  t.match(settings?.login?.ldap, {
    urls: [{ host: 'h', port: 636, encrypted: true }],
    ...{ startTls: true, userFilter: '(uid={user})', groupAttribute: 'memberOf', timeoutMs: 5000, bindDn: undefined },
  })
  const off = ldap('uid_attribute = "off"', 'group_attribute = "off"').settings?.login?.ldap
  t.match(off, { uidAttribute: undefined, groupAttribute: undefined })
  const urls = read('[ldap]\nurls = ["ldap://[::1]:3890", "ldap://127.0.0.1/"]\nbase = "dc=x"\nstart_tls = false')
  t.match(urls.settings?.login?.ldap?.urls, [
    { host: '::1', port: 3890, encrypted: false },
    { host: '127.0.0.1', port: 389 },
  ])
})

t.test('a password is shown nowhere', async (t) => {
  const sound = ldap('bind_dn = "cn=a"', `bind_password = "$\{LDAP_PASSWORD}"`)
  t.equal(sound.settings?.login?.ldap?.bindPassword, 'very-secret')
  for (const shown of [printValues(sound.values), printValuesAsJson(sound.values)]) {
    t.match(shown, /\(secret\)/)
    t.notMatch(shown, /very-secret/)
  }
  for (const wrong of ['"written-here"', '12345678', '["written-here"]', '{ a = "written-here" }']) {
    const { text } = ldap('bind_dn = "cn=a"', `bind_password = ${wrong}`)
    t.match(text, /`ldap.bind_password` must not be in this file; write it into a file of its own/)
    t.notMatch(text, /written-here|12345678/)
  }
  t.match(ldap('bind_dn = "cn=a"', `bind_password = "$\{EMPTY}"`).text, /is empty; set the environment variable/)
})

t.test('what contradicts itself is refused', async (t) => {
  const cases: readonly (readonly [ReturnType<typeof read>, RegExp])[] = [
    [read(''), /"ldap" needs the table \[ldap\]/],
    [
      read('[ldap]\nurls = ["ldap://far"]\nbase = "dc=x"\nstart_tls = false'),
      /passwords would go to ldap:\/\/far unencrypted/,
    ],
    [read('[ldap]\nbase = "dc=x"'), /`ldap.urls` is missing/],
    [read('[ldap]\nurls = ["http://far"]\nbase = "dc=x"'), /is not the URL of a server/],
    [read('[ldap]\nurls = ["ldap://me:pw@far"]\nbase = "dc=x"'), /is not the URL of a server/],
    [ldap('bind_dn = "cn=a"'), /needs a password/],
    [ldap('bind_password_file = "p"'), /add bind_dn/],
    [ldap('bind_dn = "cn=a"', 'bind_password_file = "p"', `bind_password = "$\{LDAP_PASSWORD}"`), /is given twice/],
    [ldap('user_filter = "(uid=alice)"'), /finds the same for everybody/],
    [ldap('user_filter = "uid={user}"'), /is not in parentheses/],
    [ldap('user_filter = "(&(uid={user})"'), /is not in parentheses/],
    [ldap('name_attribute = "a b"'), /is not the name of an attribute/],
    [ldap('bind_dn = "admin"'), /is not a distinguished name/],
  ]
  for (const [{ settings, text }, reason] of cases) {
    t.equal(settings, undefined)
    t.match(text, reason)
  }
})
