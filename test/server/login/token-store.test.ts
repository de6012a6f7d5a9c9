import { pino } from 'pino'
import t from 'tap'
import { executeTokenOrder, TokenStore } from '../../../server/login/index.ts'
import { MOST_OF_USER } from '../../../server/login/tokens/token-store.ts'
import { MemoryJournal } from '../../helpers/memory-journal.ts'

const log = pino({ level: 'silent' })
const clock = { nowMs: 1_000_000 }
let drawn = 0

function storeOn(journal: MemoryJournal): TokenStore {
  const random = (length: number) => Buffer.alloc(length, String(++drawn).padStart(length, '0'))
  return new TokenStore({ journal, random, wallNow: () => clock.nowMs, log })
}

const WISH = {
  user: 'alice',
  name: 'laptop',
  kind: 'app',
  view: undefined,
  path: [],
  mode: 'write',
  expiresMs: undefined,
} as const

t.test('an app password is found by its secret, which is kept nowhere, and outlives the server', async (t) => {
  const journal = new MemoryJournal()
  const { secret, token } = (await storeOn(journal).make(WISH))!
  t.match(secret, /^ovl_[\w-]{32}$/)
  t.notMatch(journal.records.join('\n'), secret.slice(4))
  const later = storeOn(journal)
  t.match(later.find(secret), { id: token.id, user: 'alice', name: 'laptop' })
  t.equal(later.find(`${secret.slice(0, -1)}y`), undefined)
  t.equal(later.find('ovl_'), undefined)
  t.ok(later.use(token), 'the first use')
  t.notOk(later.use(token))
  t.notOk(storeOn(journal).use(token), 'not first after a restart')
})

t.test('it ends when it is revoked or expires', async (t) => {
  const journal = new MemoryJournal()
  const store = storeOn(journal)
  const kept = (await store.make(WISH))!
  const revoked = (await store.make(WISH))!
  const short = (await store.make({ ...WISH, expiresMs: clock.nowMs + 1000 }))!
  await store.revoke(revoked.token)
  t.equal(store.find(revoked.secret), undefined)
  t.ok(store.find(short.secret))
  clock.nowMs += 1000
  t.equal(store.find(short.secret), undefined)
  const later = storeOn(journal)
  t.equal(later.find(revoked.secret), undefined)
  t.ok(later.find(kept.secret))
  t.equal(later.listOf('alice').length, 2, 'an expired one is still listed')
})

t.test('the journal is kept short and equivalent, and records that are none are passed over', async (t) => {
  const journal = new MemoryJournal(['nothing', '{"kind":"made"}', '{"kind":"revoked","id":"x"}', '["made"]'])
  const store = storeOn(journal)
  const first = (await store.make(WISH))!
  const second = (await store.make(WISH))!
  store.use(second.token)
  await store.revoke(first.token)
  const short = new MemoryJournal([...journal.live!.records()])
  t.equal(short.records.length, 2)
  const again = storeOn(short)
  t.match(again.list(), [{ id: second.token.id }])
  t.ok(again.isUsed(second.token))
})

t.test('a user has a limited number, of which expired ones make room', async (t) => {
  const store = storeOn(new MemoryJournal())
  for (let i = 0; i < MOST_OF_USER; i++)
    t.ok(await store.make({ ...WISH, expiresMs: clock.nowMs + (i === 0 ? 10 : 100_000) }))
  t.equal(await store.make(WISH), undefined)
  t.ok(await store.make({ ...WISH, user: 'bob' }), 'another user may')
  clock.nowMs += 10
  t.ok(await store.make(WISH))
})

t.test('the number is limited also while many are made at once', async (t) => {
  const store = storeOn(new MemoryJournal())
  const made = await Promise.all(Array.from({ length: MOST_OF_USER + 20 }, () => store.make(WISH)))
  t.equal(made.filter((each) => each !== undefined).length, MOST_OF_USER)
  t.equal(store.listOf(WISH.user).length, MOST_OF_USER)
})

t.test('one that cannot be kept is not made', async (t) => {
  const journal = new MemoryJournal()
  const store = storeOn(journal)
  journal.failing = new Error('disk full')
  await t.rejects(store.make(WISH), { message: 'disk full' })
  t.same(store.list(), [])
  journal.failing = undefined
  for (let i = 0; i < MOST_OF_USER; i++) t.ok(await store.make(WISH), 'nor does it count')
})

t.test('bad wishes are refused with their mend', async (t) => {
  const tokens = storeOn(new MemoryJournal())
  const parts = {
    tokens,
    views: () => ['course'],
    wallNow: () => clock.nowMs,
    hash: async (text: string) => `hash of ${text}`,
  }
  const make = (wish: object) => executeTokenOrder(parts, { verb: 'make', user: 'alice', name: 'laptop', ...wish })
  for (const [wish, message] of [
    [{ name: '' }, /its name must be/],
    [{ name: 'a\nb' }, /its name must be/],
    [{ mode: 'all' }, /the mode is one of write, read, drop/],
    [{ mode: 'drop' }, /only a link/],
    [{ password: 'x' }, /only a link has a password/],
    [{ kind: 'url' }, /the kind is one of app, link/],
    [{ kind: 'link' }, /a link needs the view/],
    [{ kind: 'link', view: 'course', password: '' }, /1 to 1024 bytes/],
    [{ view: 'cours' }, /there is no view "cours"; did you mean course\?/],
    [{ path: 'docs' }, /a path needs the view/],
    [{ view: 'course', path: 'a/../b' }, /is not a path inside a view/],
    [{ seconds: 0 }, /ten years/],
    [{ seconds: 1.5 }, /ten years/],
    [{ seconds: 1e12 }, /ten years/],
  ] as const)
    await t.rejects(make(wish), { message }, JSON.stringify(wish))
  t.same(tokens.list(), [])
  const [made] = await make({ view: 'course', path: '/docs//deep/', seconds: 60 })
  t.match(made, { view: 'course', path: '/docs/deep', mode: 'write', used: false, secret: /^ovl_/ })
  const revoke = (user: string) => executeTokenOrder(parts, { verb: 'revoke', user, id: made!.id })
  await t.rejects(revoke('bob'), { message: /there is no token/ }, 'not that of another user')
  t.match(await revoke('alice'), [{ id: made!.id }])
})
