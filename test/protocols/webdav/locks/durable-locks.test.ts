import { join } from 'node:path'
import t from 'tap'
import { type Journal, RecordJournal } from '../../../../overlay-core/index.ts'
import { LockKind, LockScope, LockType } from '../../../../protocols/webdav/http/vocabulary.ts'
import { DurableLockStore } from '../../../../protocols/webdav/locks/durable-locks.ts'
import { isSameHolder } from '../../../../protocols/webdav/locks/holder.ts'
import type { ActiveLock } from '../../../../protocols/webdav/locks/lock-store.ts'
import { MemoryJournal } from '../../../helpers/memory-journal.ts'
import { recordsIn } from '../../../helpers/old-files.ts'
import { tmpfs } from '../../../helpers/tmpfs.ts'
import { refusal } from '../refusal.ts'

const kind = new LockKind(LockScope.Shared, LockType.Write, 60)
const lock = (token: string, path: string, more: Partial<ActiveLock> = {}): ActiveLock => ({
  token,
  view: 'v',
  user: 7,
  names: path.split('/'),
  kind,
  deep: true,
  owner: '<x:o xmlns:x="urn:x">K\u00e4se</x:o>',
  expiresMs: 1000,
  ...more,
})

const log = { debug: nothing, info: nothing, warn: nothing, error: nothing }
function nothing(): undefined {
  return undefined
}

const open = (journal: Journal, nowMs = 0) => new DurableLockStore(() => nowMs, new Map([['v', journal]]), log)
const reopen = (journal: MemoryJournal, nowMs = 0) => open(new MemoryJournal(journal.records), nowMs)

t.test('a store opened on the journal of another has its locks, whole', async (t) => {
  const journal = new MemoryJournal()
  const store = open(journal)
  await store.add(lock('a', 'd/\xe9'))
  await store.add(lock('b', 'd/\xe9', { user: 8 }))
  await store.add(lock('c', 'e', { deep: false, kind: new LockKind(LockScope.Exclusive, LockType.Write, 9) }))
  await store.refresh('a', new LockKind(LockScope.Shared, LockType.Write, 90), 5000)
  await store.remove('b')
  const next = reopen(journal)
  t.equal(next.size, 2)
  t.same(next.byToken('a'), { ...lock('a', 'd/\xe9'), kind: { ...kind, timeout: 90 }, expiresMs: 5000 })
  t.equal(next.byToken('a')?.kind.scope, LockScope.Shared)
  t.equal(next.byToken('c')?.kind.scope, LockScope.Exclusive)
  t.same([next.usage({ user: 7 }).locks, next.usage({ user: 8 }).locks], [2, 0])
})

t.test('a lock is that of a login name; one that an older version kept is that of its user', async (t) => {
  const journal = new MemoryJournal()
  const store = open(journal)
  await store.add(lock('a', 'd', { login: 'alice' }))
  await store.add(lock('b', 'd', { login: 'bob' }))
  await store.add(lock('old', 'd'))
  t.notMatch(journal.records.at(-1), 'login', 'as older versions wrote it')
  const next = reopen(journal)
  const holders = ['a', 'b', 'old'].map((token) => next.byToken(token) as ActiveLock)
  t.same(
    holders.map(({ login }) => login),
    ['alice', 'bob', undefined],
  )
  const owns = (login: string | undefined, user = 7) => holders.map((held) => isSameHolder(held, { user, login }))
  t.same(owns('alice'), [true, false, true])
  t.same(owns('bob'), [false, true, true])
  t.same(owns('alice', 8), [true, false, false], 'the user does not matter to a name')
  t.same(owns(undefined), [true, true, true], 'without a login the user decides')
  t.equal(next.usage({ user: 7, login: 'alice' }).locks, 1)
  t.equal(next.usage({ user: 7 }).locks, 1)
  const wrong = new MemoryJournal(journal.records.map((record) => record.replace('"alice"', '17')))
  t.equal(open(wrong).byToken('a'), undefined)
})

t.test('locks whose time is over do not come back', async (t) => {
  const journal = new MemoryJournal()
  await open(journal).add(lock('a', 'x'))
  t.equal(reopen(journal, 999).size, 1)
  t.equal(reopen(journal, 1000).size, 0)
})

t.test('removing a tree is kept too', async (t) => {
  const journal = new MemoryJournal()
  const store = open(journal)
  for (const path of ['d', 'd/a', 'd/b/c', 'e']) await store.add(lock(path, path))
  await store.removeTree('v', ['d'], true)
  t.same(
    reopen(journal)
      .all()
      .map(({ token }) => token),
    ['d', 'e'],
  )
  await store.removeTree('v', ['d'], false)
  t.equal(reopen(journal).size, 1)
})

t.test('a lock counts against others at once, and is given when it is safe', async (t) => {
  const journal = new MemoryJournal()
  const go = journal.hold()
  const store = open(journal)
  let given = false
  const taken = store.add(lock('a', 'x')).then(() => {
    given = true
  })
  t.equal(store.covering('v', ['x']).length, 1)
  await new Promise((resolve) => setImmediate(resolve))
  t.notOk(given)
  go()
  await taken
  t.match(journal.records.join(), '"token":"a"')
})

t.test('changes are in the journal in their order', async (t) => {
  const journal = new MemoryJournal()
  const go = journal.hold()
  const store = open(journal)
  const all = [store.add(lock('0', 'x'))]
  for (let i = 1; i < 100; i++) all.push(store.add(lock(String(i), 'x')))
  all.push(store.remove('50'))
  go()
  await Promise.all(all)
  t.equal(reopen(journal).size, 99)
})

t.test('a lock that cannot be kept is not given', async (t) => {
  const journal = new MemoryJournal()
  const store = open(journal)
  journal.failing = Object.assign(new Error('full'), { code: 'ENOSPC' })
  const error = await store.add(lock('a', 'x')).catch((caught: unknown) => caught)
  t.equal(
    refusal(() => {
      throw error
    }),
    507,
  )
  t.equal(store.size, 0)
  journal.failing = undefined
  await store.add(lock('b', 'x'))
  t.same(
    reopen(journal)
      .all()
      .map(({ token }) => token),
    ['b'],
  )
})

t.test('the end of a lock that cannot be kept is no error: it ends with its time', async (t) => {
  const journal = new MemoryJournal()
  const store = open(journal)
  await store.add(lock('a', 'x'))
  journal.failing = new Error('the disk is gone')
  await store.remove('a')
  t.equal(store.size, 0)
  t.equal(reopen(journal).size, 1)
})

t.test('a record that says nothing does not count, those before and after it do', async (t) => {
  const journal = new MemoryJournal()
  const store = open(journal)
  await store.add(lock('a', 'x'))
  journal.records.push('{"token":"b","names":["x"],"scope":"sha')
  await store.add(lock('c', 'x'))
  journal.records.push(
    ...['null', '[]', '{"token":""}', '{"token":"d","names":[1],"scope":"shared"}'],
    '{"token":"e","seconds":1,"expiresMs":9}',
  )
  t.same(
    reopen(journal)
      .all()
      .map(({ token }) => token),
    ['a', 'c'],
  )
})

t.test('the journal is written anew when most of it no longer counts, and stays short', async (t) => {
  const path = join(tmpfs(t), 'locks')
  const journal = await RecordJournal.open(path, 'davlocks')
  const store = open(journal)
  await store.add(lock('kept', 'x'))
  for (let i = 0; i < 1500; i++) {
    await store.add(lock(`t${i}`, 'y'))
    await store.remove(`t${i}`)
  }
  await journal.close()
  t.ok(recordsIn(`${path}.log`).length < 1100, String(recordsIn(`${path}.log`).length))
  const again = await RecordJournal.open(path, 'davlocks')
  t.teardown(() => again.close())
  t.same(
    open(again)
      .all()
      .map(({ token }) => token),
    ['kept'],
  )
})

t.test(
  'the clock on the wall neither ends nor keeps locks: within a boot another one counts, beyond it their own time is the bound',
  async (t) => {
    const hour = 3_600_000
    const year = 365 * 24 * hour
    const start = 1_800_000_000_000
    const at = (journal: Journal, wallMs: number, steadyMs: number, boot: string) =>
      new DurableLockStore(() => wallMs, new Map([['v', journal]]), log, { now: () => steadyMs, boot })
    const fresh = async () => {
      const journal = new MemoryJournal()
      const store = at(journal, start, 1000, 'one')
      await store.add({
        ...lock('a', 'a'),
        kind: new LockKind(LockScope.Exclusive, LockType.Write, 600),
        expiresMs: 1000 + 600_000,
      })
      return new MemoryJournal(journal.records)
    }
    for (const jump of [hour, -hour, 10 * year, -10 * year]) {
      t.equal(
        at(await fresh(), start + jump, 301_000, 'one').byToken('a')?.expiresMs,
        601_000,
        `${jump}: half of it is left`,
      )
      t.equal(at(await fresh(), start + jump, 601_001, 'one').size, 0, `${jump}: its time is over`)
    }
    t.equal(at(await fresh(), start + 300_000, 5, 'two').byToken('a')?.expiresMs, 5 + 300_000, 'after a boot')
    t.equal(
      at(await fresh(), start - 10 * year, 5, 'two').byToken('a')?.expiresMs,
      5 + 600_000,
      'never longer than it was to live',
    )
    t.equal(at(await fresh(), start + 600_000, 5, 'two').size, 0)
  },
)

t.test('what file a lock binds is kept, and that it binds another one since', async (t) => {
  const journal = new MemoryJournal()
  const store = open(journal)
  await store.add({ ...lock('a', 'd/a'), file: { key: 7, generation: 1 } })
  await store.add({ ...lock('b', 'd/b'), file: { key: 9, generation: 2 } })
  t.same(
    store.covering('v', ['x'], { key: 7, generation: 1 }).map(({ token }) => token),
    ['a'],
  )
  t.equal(store.covering('v', ['x'], { key: 7, generation: 2 }).length, 0)
  store.rebind('v', ['d', 'b'], { key: 11, generation: 0 })
  await store.idle()
  const next = open(new MemoryJournal(journal.records))
  t.same(
    next.covering('v', ['x'], { key: 7, generation: 1 }).map(({ token }) => token),
    ['a'],
  )
  t.equal(next.covering('v', ['x'], { key: 9, generation: 2 }).length, 0)
  t.same(
    next.onFile('v', { key: 11, generation: 0 }).map(({ token }) => token),
    ['b'],
  )
  await next.remove('b')
  t.equal(next.onFile('v', { key: 11, generation: 0 }).length, 0)
})
