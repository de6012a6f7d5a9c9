import t from 'tap'
import { byteRange, LAST_BYTE, lengthOf } from '../../../../protocols/nfs/locks/byte-range.ts'
import type { Lock } from '../../../../protocols/nfs/locks/file-locks.ts'
import { LockTable } from '../../../../protocols/nfs/locks/lock-table.ts'

const owner = (name: string) => ({ key: name, client: name[0]! })
const lock = (name: string, start: number | bigint, end: number | bigint, exclusive = true): Lock => ({
  owner: owner(name),
  start: BigInt(start),
  end: BigInt(end),
  exclusive,
})

t.test('lengths on the wire: 0 is to the end, and nothing goes beyond it', async (t) => {
  t.same(byteRange(5n, 0n), { start: 5n, end: LAST_BYTE })
  t.same(byteRange(5n, 1n), { start: 5n, end: 5n })
  t.same(byteRange(LAST_BYTE, 1n), { start: LAST_BYTE, end: LAST_BYTE })
  t.equal(byteRange(LAST_BYTE, 2n), undefined)
  t.equal(lengthOf({ start: 5n, end: LAST_BYTE }), 0n)
  t.equal(lengthOf({ start: 5n, end: 6n }), 2n)
})

t.test('locks split, join, and change their kind as in POSIX; compared byte by byte with a plain model', async (t) => {
  let seed = 12345
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) & 0x7fff_ffff
    return Math.floor((seed / 0x8000_0000) * below)
  }
  const BYTES = 24
  for (let round = 0; round < 200; round++) {
    const table = new LockTable()
    const model: Map<string, boolean>[] = Array.from({ length: BYTES }, () => new Map())
    for (let step = 0; step < 40; step++) {
      const name = 'abc'[random(3)]!
      const start = random(BYTES)
      const end = start + random(BYTES - start)
      const exclusive = random(2) === 0
      if (random(3) === 0) {
        table.unlock('f', owner(name), { start: BigInt(start), end: BigInt(end) })
        for (let at = start; at <= end; at++) model[at]!.delete(name)
        continue
      }
      const free = model
        .slice(start, end + 1)
        .every((byte) => [...byte].every(([holder, strong]) => holder === name || !(strong || exclusive)))
      const got = table.lock('f', lock(name, start, end, exclusive))
      if ((got.kind === 'granted') !== free) t.fail(`round ${round} step ${step}: ${got.kind}, but free is ${free}`)
      if (free) for (let at = start; at <= end; at++) model[at]!.set(name, exclusive)
      for (let at = 0; at < BYTES; at++) {
        const taken = [...model[at]!.keys()].filter((holder) => holder !== 'z')
        const conflict = table.test('f', lock('z', at, at))
        if ((conflict !== undefined) !== taken.length > 0) t.fail(`round ${round} step ${step} byte ${at}`)
      }
    }
    for (const name of 'abc') table.freeClient(name)
    if (table.size !== 0) t.fail('nothing is left')
  }
  t.pass('8,000 steps')
})

t.test('neighbours of one kind become one lock', async (t) => {
  const table = new LockTable()
  table.lock('f', lock('a', 0, 9))
  table.lock('f', lock('a', 20, 29))
  t.equal(table.size, 2)
  table.lock('f', lock('a', 10, 19))
  t.equal(table.size, 1)
  table.lock('f', lock('a', 5, 7, false))
  t.equal(table.size, 3)
  t.ok(table.holds('f', lock('a', 0, 29, false)))
  t.notOk(table.holds('f', lock('a', 0, 29, true)))
  table.unlock('f', owner('a'), { start: 0n, end: LAST_BYTE })
  t.equal(table.size, 0)
})

t.test('who waits gets the lock in the order of arrival, as soon as nothing stands in the way', async (t) => {
  const table = new LockTable()
  const granted: string[] = []
  const wait = (name: string, ...range: [number, number, boolean?]) =>
    table.wait('f', lock(name, ...range), () => granted.push(name))
  table.lock('f', lock('a', 0, 99))
  t.equal('waits', wait('b', 0, 9))
  t.equal('waits', wait('c', 5, 20, false))
  t.equal('waits', wait('d', 5, 20, false))
  t.equal('waits', wait('e', 50, 60))
  t.equal(table.waiting, 4)
  table.unlock('f', owner('a'), { start: 50n, end: 99n })
  t.same(granted, ['e'])
  t.ok(table.cancel('f', lock('b', 0, 9)))
  t.notOk(table.cancel('f', lock('b', 0, 9)))
  table.lock('f', lock('a', 0, 49, false))
  t.same(granted, ['e', 'c', 'd'], 'a downgrade lets readers in')
  t.equal('waits', wait('g', 0, 5))
  table.freeClient('a')
  t.same(granted, ['e', 'c', 'd'], 'still held by others')
  table.freeClient('c')
  table.freeClient('d')
  t.same(granted, ['e', 'c', 'd', 'g'])
  t.equal('waits', wait('h', 0, 5))
  table.freeClient('h')
  t.equal(table.waiting, 0, 'a client that is gone waits no more')
})

t.test('a wait that closes a circle is refused', async (t) => {
  const table = new LockTable()
  const never = () => t.fail('granted')
  for (const [name, at] of [
    ['a', 0],
    ['b', 1],
    ['c', 2],
  ] as const) {
    table.lock(`file of ${name}`, lock(name, at, at))
  }
  t.equal(table.wait('file of b', lock('a', 1, 1), never), 'waits')
  t.equal(table.wait('file of c', lock('b', 2, 2), never), 'waits')
  t.equal(table.wait('file of a', lock('c', 0, 0), never), 'deadlock')
  t.ok(table.cancel('file of b', lock('a', 1, 1)))
  t.equal(table.wait('file of a', lock('c', 0, 0), never), 'waits', 'without the circle it may wait')
})

t.test('two readers that both want to write cannot both wait', async (t) => {
  const table = new LockTable()
  table.lock('f', lock('a', 0, 9, false))
  table.lock('f', lock('b', 0, 9, false))
  t.equal(table.lock('f', lock('a', 0, 9)).kind, 'denied')
  const granted: string[] = []
  t.equal(
    table.wait('f', lock('a', 0, 9), () => granted.push('a')),
    'waits',
  )
  t.equal(
    table.wait('f', lock('b', 0, 9), () => granted.push('b')),
    'deadlock',
  )
  table.unlock('f', owner('b'), { start: 0n, end: 9n })
  t.same(granted, ['a'])
})

t.test('there are no more locks than allowed', async (t) => {
  const table = new LockTable({ perClient: 3, perFile: 100, total: 5, waitsPerFile: 2, waits: 3 })
  const kinds = (name: string) => [0, 2, 4, 6].map((at) => table.lock(name, lock(name, at, at)).kind)
  t.same(kinds('a'), ['granted', 'granted', 'granted', 'full'])
  t.same(kinds('b'), ['granted', 'granted', 'full', 'full'])
  table.freeClient('a')
  t.equal(table.lock('b', lock('b', 8, 8)).kind, 'granted')
  t.equal(table.size, 3)
  const crowded = new LockTable({ perClient: 10, perFile: 2, total: 50, waitsPerFile: 2, waits: 3 })
  t.same(
    [0, 2, 4].map((at) => crowded.lock('f', lock('a', at, at)).kind),
    ['granted', 'granted', 'full'],
  )
  crowded.lock('g', lock('a', 0, 0))
  const wait = (file: string, name: string) => crowded.wait(file, lock(name, 0, 0), () => undefined)
  t.same(
    ['b', 'c', 'd'].map((name) => wait('f', name)),
    ['waits', 'waits', 'full'],
  )
  t.same(
    ['b', 'c'].map((name) => wait('g', name)),
    ['waits', 'full'],
  )
  crowded.freeClient('b')
  t.equal(wait('g', 'd'), 'waits')
  t.equal(crowded.waiting, 2)
})

t.test(
  'a client with locks in thousands of files is freed in turns; what it asks for meanwhile finds its file freed',
  async (t) => {
    const table = new LockTable()
    const FILES = 20_000
    for (let i = 0; i < FILES; i++) table.lock(`f${i}`, lock('a1', 0, 9))
    table.lock('f7', lock('b1', 20, 29))
    const granted: string[] = []
    table.wait(`f${FILES - 1}`, lock('c1', 0, 0), () => granted.push('c1'))
    table.freeClient('a')
    t.equal(table.lock(`f${FILES - 2}`, lock('a2', 0, 9)).kind, 'granted', 'a lock that it takes after its restart')
    for (let turn = 0; table.size > 3 && turn < 10_000; turn++) await new Promise((resolve) => setImmediate(resolve))
    t.equal(table.size, 3, 'that lock, the one of another client, and the one that was waited for')
    t.ok(table.holds(`f${FILES - 2}`, lock('a2', 0, 9)), 'stays')
    t.same(granted, ['c1'])
    for (const name of ['a', 'b', 'c']) table.freeClient(name)
    t.equal(table.size, 0)
  },
)

t.test('with 5,000 locks and 256 waits on a file, thousands of unlocks and refused locks take no time', async (t) => {
  const table = new LockTable({ waitsPerFileAndClient: 256, perFileAndClient: 5000 })
  for (let i = 0; i < 5000; i++) table.lock('f', lock(`a${i % 7}`, 4 * i, 4 * i + 1, i % 2 === 0))
  for (let i = 0; i < 256; i++) table.wait('f', lock(`b${i}`, 0, 4 * i + 100), () => undefined)
  t.equal(table.waiting, 256)
  const { user } = process.threadCpuUsage()
  for (let i = 0; i < 2000; i++) {
    table.unlock('f', owner('z'), { start: 0n, end: LAST_BYTE })
    table.unlock('f', owner('a3'), { start: BigInt(4 * i + 2), end: BigInt(4 * i + 3) })
    table.lock('f', lock(`d${i}`, 0, LAST_BYTE))
  }
  const ms = (process.threadCpuUsage().user - user) / 1000
  t.ok(ms < 1000, `6,000 requests took ${ms.toFixed(0)} ms`)
  table.unlock('f', owner('a0'), { start: 0n, end: LAST_BYTE })
  t.ok(table.size > 4000)
})

t.test('made-up names of one address share what the address may have', (t) => {
  const limits = { perClient: 10, perFile: 100, total: 100, waitsPerFile: 10, waits: 10 }
  const table = new LockTable(limits)
  const kinds = Array.from({ length: 20 }, (_, i) => {
    const owner = { key: `k${i}`, client: `192.0.2.1 name-${i}` }
    return table.lock(`f${i}`, { owner, exclusive: true, start: 0n, end: 9n }).kind
  })
  t.same(kinds, [...new Array(10).fill('granted'), ...new Array(10).fill('full')])
  const other = { key: 'other', client: '192.0.2.2 name-1' }
  t.equal(table.lock('f0', { owner: other, exclusive: true, start: 20n, end: 29n }).kind, 'granted')
  t.end()
})

t.test('one address cannot take all waits, by whatever names; others can still wait', async (t) => {
  const table = new LockTable({ waitsPerFile: 8, waits: 20, waitsPerFileAndClient: 6, waitsPerClient: 10 })
  const of = (client: string, name: string): Lock => ({
    ...lock(name, 0, 9),
    owner: { key: `${client}/${name}`, client },
  })
  for (const file of ['f', 'g']) table.lock(file, of('1.1.1.1 holder', 'holder'))
  const waits = (file: string, client: string, count: number) =>
    Array.from({ length: count }, (_, i) => table.wait(file, of(client, `${file}-${client}-${i}`), () => undefined))
  t.same(waits('f', '2.2.2.2 one', 4), new Array(4).fill('waits'))
  t.same(waits('f', '2.2.2.2 two', 3), ['waits', 'waits', 'full'], 'its other name has no share of its own')
  t.same(waits('f', '3.3.3.3 other', 1), ['waits'])
  t.same(waits('g', '2.2.2.2 three', 5), ['waits', 'waits', 'waits', 'waits', 'full'], 'in all files together')
  t.ok(table.cancel('f', of('2.2.2.2 one', 'f-2.2.2.2 one-0')))
  t.same(waits('g', '2.2.2.2 four', 2), ['waits', 'full'], 'what is cancelled is free again')
})

t.test('one address cannot take all locks of a file, by whatever names; others can still lock it', async (t) => {
  const table = new LockTable({ perFile: 8, perFileAndClient: 6 })
  const of = (client: string, at: number): Lock => ({ ...lock('x', at, at), owner: { key: `${client}/${at}`, client } })
  const kinds = (client: string, count: number, from: number) =>
    Array.from({ length: count }, (_, i) => table.lock('f', of(client, from + i)).kind)
  t.same(kinds('2.2.2.2 one', 4, 0), new Array(4).fill('granted'))
  t.same(kinds('2.2.2.2 two', 3, 10), ['granted', 'granted', 'full'])
  t.same(kinds('3.3.3.3 other', 3, 20), ['granted', 'granted', 'full'])
  table.unlock('f', of('2.2.2.2 one', 0).owner, { start: 0n, end: 0n })
  t.same(kinds('2.2.2.2 two', 2, 30), ['granted', 'full'])
})

t.test('the names of owners have a limit in bytes, for one address and for all', async (t) => {
  const table = new LockTable({ ownerBytes: 10_000, ownerBytesPerClient: 4000 })
  const fill = (client: string) => {
    for (let given = 0; ; given++) {
      const owner = { client, key: `${client} ${given}`.padEnd(980, '.') }
      if (table.lock(client, { owner, exclusive: true, start: BigInt(given), end: BigInt(given) }).kind === 'full')
        return given
    }
  }
  t.equal(fill('1.1.1.1 a'), 4)
  t.equal(fill('1.1.1.1 b'), 0, 'its other name has no share of its own')
  t.equal(fill('2.2.2.2 a'), 4)
  t.equal(fill('3.3.3.3 a'), 2, 'of all')
  table.freeClient('1.1.1.1 a')
  t.equal(fill('1.1.1.1 c'), 4)
  const owner = { client: '2.2.2.2 a', key: '2.2.2.2 a 0'.padEnd(980, '.') }
  table.unlock('2.2.2.2 a', owner, { start: 0n, end: LAST_BYTE })
  t.equal(fill('4.4.4.4 d'), 1)
  for (const client of ['1.1.1.1 c', '4.4.4.4 d', '2.2.2.2 a', '3.3.3.3 a']) table.freeClient(client)
  t.equal(table.size, 0)
  t.equal(fill('4.4.4.4 a'), 4)
})
