import t from 'tap'
import { PeerList } from '../../../../protocols/nfs/nsm/peer-list.ts'
import { MemoryJournal } from '../nlm/nlm-fixture.ts'

const peer = (name: string) => ({ address: '10.0.0.1', name, ourAddress: '10.0.0.9' })

t.test('a peer is on the list before its lock is granted, and stays until it knows of the restart', async (t) => {
  const journal = new MemoryJournal()
  const first = await PeerList.open(journal)
  t.equal(first.state, 1)
  t.same(first.toNotify, [])
  await Promise.all([
    first.monitor(peer('a')),
    first.monitor(peer('a')),
    first.monitor(peer('b')),
    first.monitor(peer('c')),
  ])
  t.equal(journal.lines.length, 4, 'each is written once')
  const second = await PeerList.open(journal)
  t.equal(second.state, 3, 'odd, and other than before')
  t.same(second.toNotify, [peer('a'), peer('b'), peer('c')])
  await second.notified(peer('a'))
  await second.monitor(peer('b'))
  await second.notified(peer('b'))
  const third = await PeerList.open(journal)
  t.same(third.toNotify.map(({ name }) => name).sort(), ['b', 'c'], 'b has locks again, c was never reached')
  t.equal(third.state, 5)
})

t.test('a lock is not granted when its client cannot be noted; the next one tries again', async (t) => {
  const journal = new MemoryJournal()
  const list = await PeerList.open(journal)
  const append = journal.append.bind(journal)
  journal.append = async () => {
    throw new Error('no space left')
  }
  await t.rejects(list.monitor(peer('a')), /no space/)
  journal.append = append
  await list.monitor(peer('a'))
  t.equal((await PeerList.open(journal)).toNotify.length, 1)
})

t.test(
  'a new state that cannot be written at the start is written with the first peer, which gets no lock before',
  async (t) => {
    const journal = new MemoryJournal()
    await (await PeerList.open(journal)).monitor(peer('a'))
    const replace = journal.replace.bind(journal)
    journal.replace = async () => {
      throw new Error('no space left')
    }
    const failures: unknown[] = []
    const list = await PeerList.open(journal, (error) => failures.push(error))
    t.equal(failures.length, 1)
    t.same(list.toNotify, [peer('a')])
    await t.rejects(list.monitor(peer('b')), /no space/)
    journal.replace = replace
    await list.monitor(peer('b'))
    const next = await PeerList.open(journal)
    t.equal(next.state, list.state + 2)
    t.same(next.toNotify.map(({ name }) => name).sort(), ['a', 'b'])
  },
)

t.test('a torn line at the end is no line, and the state wraps to odd', async (t) => {
  const journal = new MemoryJournal()
  journal.lines = ['{"state":2147483647}', JSON.stringify({ add: peer('a') }), '{"add":{"addr']
  const list = await PeerList.open(journal)
  t.equal(list.state, 1)
  t.equal(list.toNotify.length, 1)
})

t.test('neither the list nor its journal grows without end', async (t) => {
  const journal = new MemoryJournal()
  const list = await PeerList.open(journal)
  for (let i = 0; i < 13_000; i++) await list.monitor({ ...peer(`host${i}`), address: `192.0.2.${i % 40}` })
  t.ok(journal.lines.length < 6000, `${journal.lines.length} lines`)
  const next = await PeerList.open(journal)
  t.equal(next.toNotify.length, 4096)
  t.equal(next.toNotify.at(-1)?.name, 'host12999')
  for (let i = 0; i < 5000; i++) await next.monitor({ ...peer(`made-up-${i}`), address: '192.0.2.200' })
  const last = await PeerList.open(journal)
  const others = last.toNotify.filter(({ address }) => address !== '192.0.2.200')
  t.ok(others.length >= 4096 - 256, 'one address does not push the others off, whatever names it makes up')
})

/** So many lines make the journal be written anew. */
const MANY_LINES = 3 * 4096 + 1

t.test('a journal that is written anew holds who is still to be told, and nobody who was', async (t) => {
  const journal = new MemoryJournal()
  journal.lines = ['a', 'b'].map((name) => JSON.stringify({ add: peer(name) }))
  const list = await PeerList.open(journal)
  await list.notified(peer('a'))
  await Promise.all(Array.from({ length: MANY_LINES }, () => list.notified(peer('stranger'))))
  t.ok(journal.lines.length < MANY_LINES, 'it was written anew')
  const next = await PeerList.open(journal)
  t.same(
    next.toNotify.map(({ name }) => name),
    ['b'],
  )
})

t.test('of too many peers the one that locked longest ago is forgotten', async (t) => {
  const journal = new MemoryJournal()
  const list = await PeerList.open(journal)
  const all = Array.from({ length: 4097 }, (_, i) => `p${i}`)
  for (const name of all) await list.monitor(peer(name))
  const names = (await PeerList.open(journal)).toNotify.map(({ name }) => name)
  t.ok(names.length >= 100 && names.length < all.length, `${names.length} are kept`)
  t.same(names, all.slice(-names.length), 'the latest ones, in their order')
})
