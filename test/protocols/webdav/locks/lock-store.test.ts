import t from 'tap'
import { LockKind, LockScope, LockType } from '../../../../protocols/webdav/http/vocabulary.ts'
import { type ActiveLock, MemoryLockStore } from '../../../../protocols/webdav/locks/lock-store.ts'

const kind = new LockKind(LockScope.Exclusive, LockType.Write, 60)
const lock = (token: string, path: string, more: Partial<ActiveLock> = {}): ActiveLock => ({
  token,
  view: 'v',
  user: 0,
  names: names(path),
  kind,
  deep: false,
  owner: '',
  expiresMs: 1000,
  ...more,
})
const names = (path: string) => path.split('/').filter((name) => name !== '')
const tokens = (locks: Iterable<ActiveLock>) => [...locks].map(({ token }) => token).sort()

t.test('a lock covers its root, and with depth infinity all below', async (t) => {
  const store = new MemoryLockStore(() => 0)
  store.add(lock('flat', '/a'))
  store.add(lock('deep', '/d', { deep: true }))
  t.same(tokens(store.covering('v', names('/a'))), ['flat'])
  t.same(tokens(store.covering('v', names('/a/b'))), [])
  t.same(tokens(store.covering('v', names('/d/e/f'))), ['deep'])
  t.same(tokens(store.covering('v', names('/'))), [])
  t.same(tokens(store.covering('w', names('/d'))), [], 'another view')
})

t.test('locks below a collection are found, its own not among them', async (t) => {
  const store = new MemoryLockStore(() => 0)
  for (const path of ['/d', '/d/x', '/d/y/z', '/e']) store.add(lock(path, path))
  t.same(tokens(store.below('v', names('/d'))), ['/d/x', '/d/y/z'])
  t.same(tokens(store.below('v', [])), ['/d', '/d/x', '/d/y/z', '/e'])
})

t.test('locks end when their time is over, unless refreshed', async (t) => {
  let now = 0
  const store = new MemoryLockStore(() => now)
  store.add(lock('a', '/a', { expiresMs: 1000 }))
  store.add(lock('b', '/b', { expiresMs: 2000 }))
  now = 999
  t.equal(store.size, 2)
  store.refresh('a', kind, 5000)
  now = 2000
  t.equal(store.size, 1)
  t.equal(store.byToken('b'), undefined)
  t.same(tokens(store.covering('v', ['a'])), ['a'])
  now = 5000
  t.equal(store.size, 0)
  store.refresh('a', kind, 9000)
  t.equal(store.size, 0, 'what has ended is not revived')
})

t.test('of thousands that end in one moment none is seen any more, however few were forgotten by then', async (t) => {
  let now = 0
  const store = new MemoryLockStore(() => now)
  const file = { key: 1, generation: 1 }
  for (let i = 0; i < 5000; i++) store.add(lock(`${i}`, `/d/${i}`, { expiresMs: 1000 + (i % 7), file, user: i % 2 }))
  store.add(lock('late', '/d/late', { expiresMs: 3000, user: 1 }))
  now = 1500
  t.equal(store.heldBy(0), 0)
  t.equal(store.heldBy(1), 1)
  t.equal(store.size, 1)
  t.same(store.covering('v', ['d', '4999']), [])
  t.same(store.onFile('v', file), [])
  t.same(tokens(store.below('v', ['d'])), ['late'])
  t.same(tokens(store.all()), ['late'])
  t.equal(store.byToken('4998'), undefined)
  store.refresh('4997', kind, 9000)
  t.equal(store.byToken('4997'), undefined, 'what has ended is not revived')
  for (let i = 0; i < 100; i++) store.size
  t.equal(store.size, 1)
  now = 3000
  t.equal(store.size, 0)
})

t.test('a lock that is refreshed for ever takes no more room', async (t) => {
  let now = 0
  const store = new MemoryLockStore(() => now)
  store.add(lock('a', '/a', { expiresMs: 10 }))
  for (; now < 100_000; now++) store.refresh('a', kind, now + 10)
  t.same(tokens(store.covering('v', ['a'])), ['a'])
  now += 10
  t.equal(store.size, 0)
})

t.test('the end of thousands of locks below a collection is in turns', async (t) => {
  const store = new MemoryLockStore(() => 0)
  for (let i = 0; i < 20_000; i++) store.add(lock(`${i}`, `/d/${i}`))
  let turns = 0
  const count = () => {
    turns++
    immediate = setImmediate(count)
  }
  let immediate = setImmediate(count)
  await store.removeTree('v', ['d'], true)
  clearImmediate(immediate)
  t.ok(turns > 0)
  t.equal(store.size, 0)
})

t.test('removing a tree keeps the lock of its root on demand', async (t) => {
  const store = new MemoryLockStore(() => 0)
  for (const path of ['/d', '/d/x', '/e']) store.add(lock(path, path))
  store.removeTree('v', ['d'], true)
  t.same(tokens(store.below('v', [])), ['/d', '/e'])
  store.removeTree('v', ['d'], false)
  t.same(tokens(store.below('v', [])), ['/e'])
  store.remove('/e')
  store.remove('/e')
  t.equal(store.size, 0)
})

t.test('names such as constructor and __proto__ are names', async (t) => {
  const store = new MemoryLockStore(() => 0)
  t.same(store.covering('constructor', ['__proto__']), [])
  store.add(lock('x', '/__proto__/constructor'))
  t.same(tokens(store.covering('v', ['__proto__', 'constructor'])), ['x'])
})
