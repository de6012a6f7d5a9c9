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
  t.equal(store.usage({ user: 0 }).locks, 0)
  t.equal(store.usage({ user: 1 }).locks, 1)
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

t.test(
  'what has ended is forgotten in turns, without anybody asking again, and a subtree of it is passed over at once',
  async (t) => {
    let now = 0
    const store = new MemoryLockStore(() => now)
    const COUNT = 20_000
    // The store looks at the names of a lock when it takes it up, and once when it forgets it.
    let looks = 0
    for (let i = 0; i < COUNT; i++) {
      const made = lock(`${i}`, `/d/${i % 100}/${i}`, { user: 1 })
      const { names } = made
      Object.defineProperty(made, 'names', {
        get: () => {
          looks++
          return names
        },
      })
      store.add(made)
    }
    looks = 0
    store.add(lock('late', '/e/late', { expiresMs: 3000, user: 1 }))
    now = 2000
    const started = process.threadCpuUsage()
    t.same([store.size, store.usage({ user: 1 }).locks, tokens(store.below('v', []))], [1, 1, ['late']])
    for (let i = 0; i < 1000; i++) store.below('v', []).next()
    const { user, system } = process.threadCpuUsage(started)
    t.ok(user + system < 100_000, `a thousand questions took ${user + system} µs`)
    store.add(lock('new', '/d/0/0', { expiresMs: 2500, user: 1 }))
    t.same(tokens(store.below('v', ['d'])), ['new'])
    t.ok(looks < 0.1 * COUNT, `${looks} are forgotten at once`)
    let turns = 0
    for (; looks < COUNT; turns++) await new Promise((resolve) => setImmediate(resolve))
    t.ok(turns > 2, `the others in ${turns} turns`)
    t.same([store.size, store.usage({ user: 1 }).locks, tokens(store.all())], [2, 2, ['late', 'new']])
    t.ok(store.usage().bytes > 0)
    for (const token of ['late', 'new']) store.remove(token)
    t.same(store.usage(), { locks: 0, bytes: 0 })
  },
)

t.test('questions have the same answers as a list of all locks would give, whatever ended meanwhile', async (t) => {
  let now = 0
  let seed = 7
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((seed / 2 ** 31) * below)
  }
  const store = new MemoryLockStore(() => now)
  const model = new Map<string, ActiveLock>()
  for (let step = 0; step < 6000; step++) {
    const path = `/${'abc'[random(3)]}/${random(4)}/${random(5)}`.slice(0, [2, 4, 6][random(3)])
    const token = `${step}`
    const made = lock(token, path, { deep: random(4) === 0, user: random(3), expiresMs: now + 1 + random(400) })
    store.add(made)
    model.set(token, made)
    const other = `${random(step + 1)}`
    const present = model.get(other)
    const change = random(5)
    if (change === 0) {
      store.remove(other)
      model.delete(other)
    } else if (change === 1 && present !== undefined && present.expiresMs > now) {
      store.refresh(other, kind, now + 300)
      model.set(other, { ...present, expiresMs: now + 300 })
    }
    if (random(100) === 0) now += random(500)
    if (random(300) === 0) await new Promise((resolve) => setImmediate(resolve))
    if (step % 20 !== 0) continue
    const live = [...model.values()].filter(({ expiresMs }) => expiresMs > now)
    const under = (lock: ActiveLock) => lock.names[0] === 'a' && lock.names.length > 1
    const user = live.filter(({ user }) => user === 1).length
    t.same([store.size, store.usage({ user: 1 }).locks], [live.length, user])
    t.same(tokens(store.below('v', ['a'])), tokens(live.filter(under)))
    t.same(tokens(store.covering('v', ['a'])), tokens(live.filter(({ names }) => names.join() === 'a')))
  }
})

t.test('locked resources below come with the deep locks above them, less what a submitted one opens', async (t) => {
  const store = new MemoryLockStore(() => 0)
  const shared = new LockKind(LockScope.Shared, LockType.Write, 60)
  store.add(lock('top', '/d', { deep: true, kind: shared }))
  store.add(lock('flat', '/d', { kind: shared }))
  store.add(lock('deep', '/d/e', { deep: true, kind: shared }))
  for (const path of ['/d/e/x', '/d/e/y/z', '/d/w']) store.add(lock(path, path, { kind: shared }))
  const shown = (submitted: string[]) =>
    [...store.lockedBelow('v', ['d'], new Set(submitted))].map(({ own, above }) => [tokens(own), tokens(above)])
  t.same(shown([]), [
    [['deep'], ['top']],
    [['/d/e/x'], ['deep', 'top']],
    [['/d/e/y/z'], ['deep', 'top']],
    [['/d/w'], ['top']],
  ])
  t.same(shown(['deep']), [[['/d/w'], ['top']]])
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
