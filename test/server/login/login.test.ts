import { pino } from 'pino'
import t from 'tap'
import {
  type AccountSource,
  Audit,
  Login,
  RoleList,
  TokenStore,
  UserIds,
  type Verdict,
} from '../../../server/login/index.ts'
import { MemoryJournal } from '../../helpers/memory-journal.ts'

const log = pino({ level: 'silent' })

/** A source whose accounts have their names as passwords, and which may be down. */
class TrialSource implements AccountSource {
  readonly kind = 'file'
  readonly names: string[]
  down = false
  asked = 0
  changed: () => void = () => undefined
  readonly #secret: string

  constructor(names: readonly string[], secret = 'secret') {
    this.names = [...names]
    this.#secret = secret
  }

  async verify(name: string, secret: string): Promise<Verdict> {
    this.asked++
    const found = await this.lookup(name)
    return typeof found === 'string' || secret === this.#secret ? found : 'wrong'
  }

  async lookup(name: string): Promise<Exclude<Verdict, 'wrong'>> {
    if (this.down) return 'unavailable'
    return this.names.includes(name) ? { name, groups: [], ids: { uid: 1, gid: 1, groups: [] } } : 'unknown'
  }

  onChange(changed: () => void): void {
    this.changed = changed
  }

  async close(): Promise<void> {
    this.down = true
  }
}

function loginOf(sources: readonly AccountSource[], clock = { nowMs: 0 }, tokens = tokensAt(clock)): Login {
  const nameService = { byName: async () => undefined, groupsOf: async () => undefined }
  return new Login({
    sources,
    ids: new UserIds({ sources: ['system'], nameService, journal: undefined, log }),
    roles: new RoleList({ admins: [], readers: [] }),
    audit: new Audit(log, () => 0),
    log,
    now: () => clock.nowMs,
    wallNow: () => clock.nowMs,
    tokens,
    checkPassword: async () => false,
    key: Buffer.alloc(32, 1),
  })
}

let made = 0
/** The app passwords of a test, whose random bytes differ. */
function tokensAt(clock: { readonly nowMs: number }, journal = new MemoryJournal()): TokenStore {
  const random = (length: number) => Buffer.alloc(length, ++made)
  return new TokenStore({ journal, random, wallNow: () => clock.nowMs, log })
}

const verify = (login: Login, name: string, secret: string, address = '192.0.2.1') =>
  login.verify(`${name}:${secret}`, name, secret, address)

t.test('the first source that knows a name decides', async (t) => {
  const login = loginOf([new TrialSource(['alice'], 'local'), new TrialSource(['alice', 'bob'], 'remote')])
  t.match(await verify(login, 'alice', 'local'), { user: { name: 'alice' } })
  t.match(await verify(login, 'bob', 'remote'), { user: { name: 'bob' } })
  t.match(await verify(login, 'alice', 'remote'), { refused: 'wrong' }, 'a later source cannot take a name over')
  t.match(await verify(login, 'carol', 'remote'), { refused: 'wrong' })
})

t.test('while a source is down the others log in, and nobody else is told that the password is wrong', async (t) => {
  const first = new TrialSource(['alice'], 'remote')
  const login = loginOf([first, new TrialSource(['alice', 'root'], 'local')])
  first.down = true
  t.match(await verify(login, 'root', 'local'), { user: { name: 'root' } })
  t.match(await verify(login, 'alice', 'local'), { user: { name: 'alice' } }, 'the local fallback')
  t.match(await verify(login, 'alice', 'remote'), { refused: 'unavailable', retryAfterSec: 5 })
  t.match(await verify(login, 'carol', 'x'), { refused: 'unavailable' })
  for (let i = 0; i < 50; i++) await verify(login, 'carol', `x${i}`)
  first.down = false
  t.match(await verify(login, 'alice', 'remote'), { user: { name: 'alice' } }, 'and no tries were used up')
})

t.test('a verified secret is remembered for a minute, or until an account changes', async (t) => {
  const clock = { nowMs: 0 }
  const source = new TrialSource(['alice'])
  const login = loginOf([source], clock)
  t.equal(login.remembered('alice:secret'), undefined)
  await verify(login, 'alice', 'secret')
  t.match(login.remembered('alice:secret'), { name: 'alice' })
  t.equal(login.remembered('alice:secret '), undefined)
  clock.nowMs = 59_999
  t.match(login.remembered('alice:secret'), { name: 'alice' })
  clock.nowMs = 60_000
  t.equal(login.remembered('alice:secret'), undefined)
  await verify(login, 'alice', 'secret')
  source.changed()
  t.equal(login.remembered('alice:secret'), undefined)
  await verify(login, 'alice', 'wrong')
  t.equal(login.remembered('alice:wrong'), undefined)
})

t.test('what was verified before a change is not remembered after it', async (t) => {
  const source = new TrialSource(['alice'])
  const login = loginOf([source])
  const verifying = verify(login, 'alice', 'secret')
  source.changed()
  await verifying
  t.equal(login.remembered('alice:secret'), undefined)
})

t.test('many requests with one secret ask once', async (t) => {
  const source = new TrialSource(['alice'])
  const login = loginOf([source])
  const results = await Promise.all(Array.from({ length: 50 }, () => verify(login, 'alice', 'secret')))
  for (const result of results) t.match(result, { user: { name: 'alice' } })
  t.equal(source.asked, 1)
})

t.test('tries of one address run out, and a right password from another one works', async (t) => {
  const source = new TrialSource(['alice'])
  const login = loginOf([source])
  for (let i = 0; i < 20; i++) t.match(await verify(login, 'alice', `wrong${i}`), { refused: 'wrong' })
  t.match(await verify(login, 'alice', 'secret'), { refused: 'too many', retryAfterSec: 2 })
  t.equal(source.asked, 20)
  t.match(await verify(login, 'alice', 'secret', '192.0.2.2'), { user: { name: 'alice' } })
})

t.test('names and secrets that are too long are refused without asking anybody', async (t) => {
  const source = new TrialSource(['alice'])
  const login = loginOf([source])
  t.match(await verify(login, 'a'.repeat(256), 'secret'), { refused: 'wrong' })
  t.match(await verify(login, 'alice', 'a'.repeat(1025)), { refused: 'wrong' })
  t.match(await login.lookup('a'.repeat(256)), { refused: 'wrong' })
  t.equal(source.asked, 0)
})

t.test('what was verified in one way is not remembered as a field', async (t) => {
  const login = loginOf([new TrialSource(['alice'])])
  const proof = async () => ({ name: 'alice', forMs: 60_000 })
  t.match(await login.prove('session STATE?code=x', '192.0.2.1', 'session', proof), { user: { name: 'alice' } })
  t.equal(login.remembered('session STATE?code=x'), undefined, 'the address of a callback opens nothing')
  t.match(await login.prove('Bearer x', '192.0.2.1', 'bearer', proof), { user: { name: 'alice' } })
  t.match(login.remembered('Bearer x'), { name: 'alice' })
  const clock = { nowMs: 0 }
  const tokens = tokensAt(clock)
  const wish = { user: 'alice', name: 'a link', view: 'course', path: [], mode: 'read', kind: 'link' } as const
  const { token } = (await tokens.make({ ...wish, expiresMs: undefined }))!
  const linked = loginOf([new TrialSource(['alice'])], clock, tokens)
  t.match(await linked.verifyLink(token, undefined, '192.0.2.1'), { user: { name: 'alice' } })
  for (const end of [' ', '', ' undefined']) t.equal(linked.remembered(`link ${token.id}${end}`), undefined)
})
