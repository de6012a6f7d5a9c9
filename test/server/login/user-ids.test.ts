import { pino } from 'pino'
import t from 'tap'
import type { IdSource } from '../../../config/index.ts'
import { type NameService, UserIds } from '../../../server/login/index.ts'
import { MemoryJournal } from '../../helpers/memory-journal.ts'

const log = pino({ level: 'silent' })
/** A machine with one user. */
const machine: NameService = {
  byName: async (name) => (name === 'daemon' ? { uid: 1, gid: 1 } : undefined),
  groupsOf: async () => [1, 12],
}

function idsWith(journal: MemoryJournal, sources: readonly IdSource[] = ['system', { first: 5000, last: 5002 }]) {
  return new UserIds({ sources, nameService: machine, journal, log })
}

t.test('the source of the account, the name service and the range are asked in their order', async (t) => {
  const ids = idsWith(new MemoryJournal())
  const given = { uid: 77, gid: 78, groups: [79] }
  t.same(await ids.of({ name: 'daemon', groups: [], ids: given }), given)
  t.same(await ids.of({ name: 'daemon', groups: [] }), { uid: 1, gid: 1, groups: [1, 12] })
  t.same(await ids.of({ name: 'alice', groups: [] }), { uid: 5000, gid: 5000, groups: [] })
  t.same(await ids.byName('bob'), { uid: 5001, gid: 5001, groups: [] })
  t.equal((await ids.byName('alice'))?.uid, 5000)
  t.equal(await idsWith(new MemoryJournal(), ['system']).byName('alice'), undefined)
})

t.test('a number of the range belongs to a name for ever', async (t) => {
  const journal = new MemoryJournal()
  await idsWith(journal).byName('alice')
  await idsWith(journal).byName('bob')
  const later = idsWith(new MemoryJournal([...journal.records, 'no json', '["x"]', '["alice",5002]']))
  t.equal((await later.byName('bob'))?.uid, 5001)
  t.equal((await later.byName('alice'))?.uid, 5000, 'a later record changes nothing')
  t.equal((await later.byName('carol'))?.uid, 5002)
  t.equal(await later.byName('dave'), undefined, 'the range is used up')
})

t.test('concurrent questions for one name give one number, and names that are in use share none', async (t) => {
  const journal = new MemoryJournal()
  const ids = idsWith(journal)
  const open = journal.hold()
  const asked = ['alice', 'bob', 'alice', 'bob', 'alice'].map((name) => ids.byName(name))
  open()
  t.same(
    (await Promise.all(asked)).map((found) => found?.uid),
    [5000, 5001, 5000, 5001, 5000],
  )
  t.equal(journal.records.length, 2)
})

t.test('a number that could not be kept is not given away', async (t) => {
  const journal = new MemoryJournal()
  const ids = idsWith(journal)
  journal.failing = new Error('disk full')
  await t.rejects(ids.byName('alice'), { message: /5000 of alice cannot be kept/ })
  journal.failing = undefined
  t.equal((await ids.byName('bob'))?.uid, 5001)
})
