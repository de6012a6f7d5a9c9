import { join } from 'node:path'
import t, { type Test } from 'tap'
import { RecordJournal } from '../../../../overlay-core/index.ts'
import { type NsmPeer, PeerList } from '../../../../protocols/nfs/nsm/peer-list.ts'
import { MemoryJournal } from '../../../helpers/memory-journal.ts'
import { recordsIn } from '../../../helpers/old-files.ts'
import { tmpfs } from '../../../helpers/tmpfs.ts'

t.setTimeout(180_000)

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
  t.equal(journal.records.length, 4, 'each is written once')
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
  journal.failing = new Error('no space left')
  await t.rejects(list.monitor(peer('a')), /no space/)
  journal.failing = undefined
  await list.monitor(peer('a'))
  t.equal((await PeerList.open(journal)).toNotify.length, 1)
})

t.test(
  'a new state that cannot be written at the start is written with the first peer, which gets no lock before',
  async (t) => {
    const journal = new MemoryJournal()
    await (await PeerList.open(journal)).monitor(peer('a'))
    journal.failing = new Error('no space left')
    const failures: unknown[] = []
    const list = await PeerList.open(journal, (error) => failures.push(error))
    t.equal(failures.length, 1)
    t.same(list.toNotify, [peer('a')])
    await t.rejects(list.monitor(peer('b')), /no space/)
    journal.failing = undefined
    await list.monitor(peer('b'))
    const next = await PeerList.open(journal)
    t.equal(next.state, list.state + 2)
    t.same(next.toNotify.map(({ name }) => name).sort(), ['a', 'b'])
  },
)

t.test('a line that an earlier version left torn is no record, and the state wraps to odd', async (t) => {
  const journal = new MemoryJournal()
  journal.records = ['{"state":2147483647}', JSON.stringify({ add: peer('a') }), '{"add":{"addr']
  const list = await PeerList.open(journal)
  t.equal(list.state, 1)
  t.equal(list.toNotify.length, 1)
})

/** A journal on a file system in memory, and how to open it again as it then is. */
async function realJournal(t: Test) {
  const path = join(tmpfs(t), 'peers')
  let journal: RecordJournal | undefined
  const open = async () => {
    await journal?.close()
    journal = await RecordJournal.open(path, 'nfspeers')
    return await PeerList.open(journal)
  }
  t.teardown(() => journal?.close())
  return { file: `${path}.log`, open }
}

/** Several hundred at a time, which share the waits for the disk. */
async function monitorAll(list: PeerList, peers: readonly NsmPeer[]): Promise<void> {
  for (let at = 0; at < peers.length; at += 500) {
    await Promise.all(peers.slice(at, at + 500).map((one) => list.monitor(one)))
  }
}

t.test('neither the list nor its journal grows without end', async (t) => {
  const { file, open } = await realJournal(t)
  const list = await open()
  const all = Array.from({ length: 13_000 }, (_, i) => ({ ...peer(`host${i}`), address: `192.0.2.${i % 40}` }))
  for (let at = 0; at < all.length; at += 100)
    await Promise.all(all.slice(at, at + 100).map((one) => list.monitor(one)))
  const next = await open()
  t.ok(recordsIn(file).length < 2 * 4096 + 2000, `${recordsIn(file).length} records`)
  t.equal(next.toNotify.length, 4096)
  t.equal(next.toNotify.at(-1)?.name, 'host12999')
  await monitorAll(
    next,
    Array.from({ length: 5000 }, (_, i) => ({ ...peer(`made-up-${i}`), address: '192.0.2.200' })),
  )
  const last = await open()
  const others = last.toNotify.filter(({ address }) => address !== '192.0.2.200')
  t.ok(others.length >= 4096 - 256, 'one address does not push the others off, whatever names it makes up')
})

t.test('a journal that is written anew holds the state, who is still to be told, and nobody who was', async (t) => {
  const { file, open } = await realJournal(t)
  const first = await open()
  for (const name of ['a', 'b']) await first.monitor(peer(name))
  const list = await open()
  await list.notified(peer('a'))
  await Promise.all(Array.from({ length: 1200 }, () => list.notified(peer('stranger'))))
  await list.notified(peer('stranger'))
  const next = await open()
  t.ok(recordsIn(file).length < 1000, 'it was written anew')
  t.equal(next.state, list.state + 2)
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
