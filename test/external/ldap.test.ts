import { writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { newHash } from '../../server/login/index.ts'
import { course } from '../server/course.ts'
import { type Running, run } from '../server/launch.ts'
import { makeScratch } from './helpers/scratch.ts'
import { quote } from './helpers/shell.ts'
import { BASE, SEARCHER, SEARCHER_PASSWORD, startSlapd } from './helpers/slapd.ts'

t.setTimeout(600_000)
const scratch = makeScratch(t)
const PEOPLE = `ou=people,${BASE}`
const GROUPS = `ou=groups,${BASE}`

/** An object of a person; `more` are further lines. */
function person(name: string, more = '', rdn = `uid=${name}`): string {
  return `dn: ${rdn},${PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\ncn: ${name}\nsn: ${name}\nuid: ${name}\nuserPassword: pw-${name}\n${more}\n`
}
const ids = (uid: number, gid = uid) => `uidNumber: ${uid}\ngidNumber: ${gid}\n`
const group = (name: string, below: string, lines: string) =>
  `dn: cn=${name},${below}\nobjectClass: ${lines.includes('memberUid') ? 'posixGroup' : 'groupOfNames'}\ncn: ${name}\n${lines}\n`

const slapd = await startSlapd(
  scratch,
  [
    ...[PEOPLE, GROUPS, `ou=clubs,${BASE}`].map((dn) => `dn: ${dn}\nobjectClass: organizationalUnit\n`),
    person('alice', `${ids(5001)}mail: alice@example.org\nemployeeType: 64K\n`),
    person('bob', ids(5002)),
    person('rita', ids(5003)),
    person('tea, cher', ids(5004), 'cn=tea\\, cher'),
    person('zero', ids(0)),
    person('root', ids(5009)),
    person('norman', ''),
    person('double', ids(5010)),
    person('double', ids(5011), 'cn=double'),
    person('carol', `${ids(5012)}uid: karoline\n`),
    person('filed', ids(5013)),
    `dn: uid=open,${PEOPLE}\nobjectClass: account\nuid: open\n`,
    group('readers', GROUPS, `member: uid=rita,${PEOPLE}\n`),
    group('staff', GROUPS, `member: cn=tea\\, cher,${PEOPLE}\n`),
    // Groups that anybody may make.
    group('admins', `ou=clubs,${BASE}`, `member: uid=bob,${PEOPLE}\n`),
    group('lab', GROUPS, 'gidNumber: 6001\nmemberUid: alice\n'),
  ].join('\n'),
)

interface LdapOptions {
  readonly lines?: string
  readonly sources?: string
  readonly url?: string
  readonly template?: string
  readonly ca?: string
}

const FILED = `local:${newHash('pw-local', Buffer.alloc(16, 1))}\nfiled:${newHash('pw-file', Buffer.alloc(16, 2))}\n`

/** A course whose users are those of the directory. */
async function classroom(t: Test, options: LdapOptions = {}) {
  const { lines = '', sources = '"ldap"', url = slapd.url, template = '', ca = slapd.caFile } = options
  const tables = `
[login]
sources = [${sources}]
password_file = "users"
ids = ["100000-199999"]
readers = ["@readers"]
admins = ["@admins"]
audit_file = "audit"
[ldap]
urls = ["${url}"]
ca_file = "${ca}"
bind_dn = "${SEARCHER}"
bind_password_file = "search-password"
base = "${PEOPLE}"
group_base = "${GROUPS}"
timeout = 2
${lines}
`
  const prepare = (dir: string) => {
    writeFileSync(join(dir, 'search-password'), `${SEARCHER_PASSWORD}\n`, { mode: 0o600 })
    writeFileSync(join(dir, 'users'), FILED, { mode: 0o600 })
  }
  const made = await course(t, { more: `create = true\nowners = ["@staff"]\n${template}`, tables, prepare })
  const get = async (name: string, password: string, path = '/course/welcome.txt', method = 'GET', body?: string) => {
    const authorization = `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
    return made.dav(method, path, { headers: { authorization }, ...(body !== undefined && { body }) })
  }
  const status = async (...request: Parameters<typeof get>) => (await get(...request)).status
  return { ...made, get, status }
}

/** Waits until the log says it. */
async function said({ stderr }: Pick<Running, 'stderr'>, what: RegExp): Promise<void> {
  while (!what.test(stderr())) await pause(50)
}

t.test('with curl: each user has a view whose files have the ids of the directory', async (t) => {
  const { dir, server } = await classroom(t)
  const url = `${server.webdavUrl}`
  const curl = (user: string, rest: string) => scratch.sh(`curl -sS -w '%{http_code}' -u ${quote(user)} ${rest}`)
  writeFileSync(join(scratch.path, 'notes'), 'of alice')
  t.equal(await curl('alice:pw-alice', `-T notes ${url}notes`), '201')
  t.equal(await curl('alice:pw-alice', `${url}notes`), 'of alice200')
  t.match(await curl('bob:pw-bob', `-o /dev/null ${url}notes`), '404')
  t.equal(await curl('alice:wrong', `-o /dev/null ${url}notes`), '401')
  t.equal(await curl('tea, cher:pw-tea, cher', `${url}~alice/notes`), 'of alice200', 'the teacher is in the group')
  t.equal(await curl('bob:pw-bob', `-o /dev/null ${url}~alice/notes`), '404')
  const { stdout } = await run(['view', 'show', 'course/alice', '--json', '--state-dir', join(dir, 'state')])
  const file = await stat(join(JSON.parse(stdout).directory, 'upper/notes'))
  t.same([file.uid, file.gid], [5001, 5001])
})

t.test('ldaps and StartTLS, and a server whose certificate is not trusted or has another name', async (t) => {
  t.equal(await (await classroom(t, { url: slapd.secureUrl })).status('alice', 'pw-alice'), 200, 'ldaps')
  await scratch.sh(
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout other.key -out other.pem -subj /CN=x 2> /dev/null',
  )
  for (const url of [slapd.url, slapd.secureUrl]) {
    const foreign = await classroom(t, { url, ca: join(scratch.path, 'other.pem') })
    t.equal(await foreign.status('alice', 'pw-alice'), 503, `${url}, another authority`)
    await said(foreign.server, /self-signed certificate/)
    const named = await classroom(t, { url: url.replace('127.0.0.1', 'localhost') })
    t.equal(await named.status('alice', 'pw-alice'), 503, `${url}, another name`)
    await said(named.server, /altnames/)
  }
})

t.test('roles come from groups, and only from groups below group_base', async (t) => {
  const { status } = await classroom(t)
  t.equal(await status('rita', 'pw-rita'), 200)
  t.equal(await status('rita', 'pw-rita', '/course/new', 'PUT', 'x'), 403, 'a reader')
  t.equal(await status('alice', 'pw-alice', '/course/x', 'PUT', 'x'), 201)
  t.equal(await status('bob', 'pw-bob', '/course/~alice/x'), 404, 'bob made himself a group of admins elsewhere')
})

t.test('groups can be searched for', async (t) => {
  const { status } = await classroom(t, {
    lines: 'group_attribute = "off"\ngroup_filter = "(|(memberUid={user})(member={dn}))"',
    template: 'owner = "5001:5001"',
  })
  t.equal(await status('tea, cher', 'pw-tea, cher'), 200)
  t.equal(await status('alice', 'pw-alice', '/course/x', 'PUT', 'x'), 201)
  t.equal(await status('tea, cher', 'pw-tea, cher', '/course/~alice/x'), 200, 'a name with a comma is found by its DN')
  t.equal(await status('rita', 'pw-rita', '/course/new', 'PUT', 'x'), 403)
})

t.test('names and passwords that try to be more are no accounts', async (t) => {
  const { status } = await classroom(t)
  const names = [
    ...[
      '*',
      'a*',
      'alice*',
      'alice)(uid=*',
      '*)(objectClass=*',
      'alice)(|(uid=*',
      '(alice',
      'alice)',
      '\\61lice',
      'alice\\2a',
    ],
    ...[
      'uid=alice',
      `uid=alice,${PEOPLE}`,
      'alice\0',
      'alice\n',
      'x)(uid=alice',
      '',
      ' ',
      'PLAIN',
      'EXTERNAL',
      'al{user}',
      '{user}',
      '{dn}',
    ],
  ]
  for (const name of names) {
    const found = await status(name, 'pw-alice')
    t.ok(found === 401 || found === 429, `${JSON.stringify(name)}: ${found}`)
  }
})

t.test('an empty password is wrong although the directory would say yes', async (t) => {
  const { status } = await classroom(t)
  const saysYes = await scratch.sh(`ldapwhoami -x -H ${slapd.url} -D ${quote(`uid=bob,${PEOPLE}`)} -w '' 2>&1 || true`)
  t.match(saysYes, /anonymous/, 'the directory accepts it')
  t.equal(await status('bob', ''), 401)
  t.equal(await status('open', ''), 401)
  t.equal(await status('open', 'x'), 401, 'an object without a password')
})

t.test('objects that may not log in: system ids, root, several objects, another name', async (t) => {
  const { status, get, server } = await classroom(t, { lines: 'user_filter = "(|(uid={user})(mail={user}))"' })
  for (const name of ['zero', 'root', 'double']) t.equal(await status(name, `pw-${name}`), 401, name)
  await said(server, /not a number from 1000/)
  t.equal(await status('norman', 'pw-norman', '/course/x', 'PUT', 'x'), 201, 'an id of the range')
  t.equal(await status('ALICE', 'pw-alice', '/course/by-name', 'PUT', 'x'), 201)
  t.match(await get('alice', 'pw-alice', '/course/by-name'), { status: 200 }, 'a name has one form')
  t.equal(await status('alice@example.org', 'pw-alice', '/course/by-name'), 200, 'by mail')
  t.equal(await status('karoline', 'pw-carol'), 200, 'one of two names')
})

t.test('an earlier source keeps its names, however they are written', async (t) => {
  const { status } = await classroom(t, { sources: '"file", "ldap"' })
  t.equal(await status('filed', 'pw-file'), 200)
  t.equal(await status('filed', 'pw-filed'), 401)
  t.equal(await status('FILED', 'pw-filed'), 401, 'the directory knows this name as that of the file')
  t.equal(await status('ALICE', 'pw-alice'), 200)
})

t.test('connections are kept', async (t) => {
  const { status } = await classroom(t, { sources: '"ldap"' })
  t.equal(await status('alice', 'pw-alice'), 200)
  const before = await slapd.connections()
  for (const name of ['bob', 'rita', 'norman', 'carol', 'filed']) t.equal(await status(name, `pw-${name}`), 200)
  t.equal(await status('bob', 'wrong'), 401)
  // The one that asks for the count.
  t.equal((await slapd.connections()) - before, 1)
})

t.test('a quota comes from an attribute', async (t) => {
  const { status } = await classroom(t, { lines: 'quota_attribute = "employeeType"' })
  const put = (name: string, size: number) => status(name, `pw-${name}`, '/course/f', 'PUT', 'x'.repeat(size))
  t.equal(await put('alice', 65_537), 507)
  t.equal(await put('alice', 60_000), 201)
  t.equal(await put('bob', 65_537), 201, 'nobody limits bob')
})

t.test(
  'a slow or dead server: others log in, its users are asked to come again, and it is used when it is back',
  async (t) => {
    const { status, get, server } = await classroom(t, { sources: '"ldap", "file"' })
    t.equal(await status('alice', 'pw-alice'), 200)
    slapd.process.kill('SIGSTOP')
    t.equal(await status('local', 'pw-local'), 200, 'slow')
    t.equal(await status('alice', 'pw-alice'), 200, 'remembered for a minute')
    const slow = await get('bob', 'pw-bob')
    t.equal(slow.status, 503)
    t.match(slow.headers['retry-after'], /^\d+$/)
    slapd.process.kill('SIGCONT')
    while ((await status('bob', 'pw-bob')) !== 200) await pause(200)
    await slapd.kill()
    t.equal(await status('rita', 'pw-rita'), 503, 'dead')
    t.equal(await status('local', 'pw-local'), 200)
    await slapd.start()
    while ((await status('rita', 'pw-rita')) !== 200) await pause(200)
    await said(server, /does not answer/)
    await said(server, /answers again/)
    // A connection that the server has closed meanwhile is replaced without a word.
    await slapd.kill()
    await slapd.start()
    t.equal(await status('norman', 'pw-norman'), 200)
    for (const text of [server.stderr(), server.stdout()]) t.notMatch(text, /search-pw|pw-(bob|alice|rita)/)
  },
)

t.test('a wrong password of the searcher keeps everybody out and is not written down', async (t) => {
  const room = await classroom(t)
  writeFileSync(join(room.dir, 'search-password'), 'no-such-pw\n')
  t.equal(await room.status('alice', 'pw-alice'), 503)
  await said(room.server, /refuses the password of cn=search/)
  t.notMatch(room.server.stderr(), /no-such-pw/)
  const printed = await run(['config', 'print', '--config', join(room.dir, 'o.toml')])
  t.match(printed.stdout, /bind_password_file = /)
})
