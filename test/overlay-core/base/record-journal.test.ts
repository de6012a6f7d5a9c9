import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { RecordJournal } from '../../../overlay-core/base/record-journal.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { recordsIn } from '../../helpers/old-files.ts'
import { tmpfs } from '../../helpers/tmpfs.ts'

async function reopened(t: Test, path: string, before?: RecordJournal): Promise<RecordJournal> {
  await before?.close()
  const journal = await RecordJournal.open(path, 'test')
  t.teardown(() => journal.close().catch(() => undefined))
  return journal
}

/** Has calls of these names fail with `errno`, from the `nth` one on. */
function failing(t: Test, ops: RegExp, errno: number, nth = 1, only = false): () => void {
  let calls = 0
  const end = () => setFaultPoints(undefined)
  setFaultPoints({
    before: (op) => (ops.test(op) && (++calls === nth || (calls > nth && !only)) ? errno : 0),
    after: () => undefined,
  })
  t.teardown(end)
  return end
}

/** A store that keeps the last value of each letter, and the letters whose writing anew failed. */
function store(journal: RecordJournal) {
  const values = new Map<string, string>()
  for (const record of journal.takeRecords()) values.set(record[0]!, record)
  const failures: unknown[] = []
  journal.keepShort({
    count: () => values.size,
    records: () => [...values.values()],
    failed: (error) => failures.push(error),
  })
  const set = async (record: string) => {
    values.set(record[0]!, record)
    await journal.append(record)
  }
  return { values, set, failures }
}

t.test('records of any text survive a restart, and are returned once', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const journal = await reopened(t, path)
  for (const record of ['one', 'K\u00e4se\n\u0000\ud83d\ude00', '{"a":1}']) await journal.append(record)
  t.equal(statSync(`${path}.log`).mode & 0o777, 0o600)
  const again = await reopened(t, path, journal)
  t.same(again.takeRecords(), ['one', 'K\u00e4se\n\u0000\ud83d\ude00', '{"a":1}'])
  t.same(again.takeRecords(), [])
})

t.test('a refused record never comes back', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const journal = await reopened(t, path)
  for (const op of [/^pwrite$/, /^fdatasync$/]) {
    await journal.append('before')
    const end = failing(t, op, 5)
    await t.rejects(journal.append('refused'), { code: 'EIO' })
    end()
  }
  await journal.append('after')
  t.same((await reopened(t, path, journal)).takeRecords(), ['before', 'before', 'after'])
})

t.test('the journal is rewritten when most of it is obsolete, and grows while that fails', async (t) => {
  const path = join(tmpfs(t), 'journal')
  const journal = await reopened(t, path)
  const { set, failures } = store(journal)
  for (let i = 0; i < 2500; i++) await set(`${'abc'[i % 3]} ${i}`)
  const again = await reopened(t, path, journal)
  t.ok(recordsIn(`${path}.log`).length < 1100, `${recordsIn(`${path}.log`).length} records`)
  t.same(failures, [])
  const kept = store(again)
  t.same([...kept.values.values()].sort(), ['a 2499', 'b 2497', 'c 2498'])
  const end = failing(t, /^renameat2$/, 28)
  for (let i = 0; i < 1500; i++) await kept.set(`d ${i}`)
  t.equal(kept.failures.length, 1, 'told once, and not tried again at each record')
  end()
  const last = await reopened(t, path, again)
  t.ok(recordsIn(`${path}.log`).length > 1100)
  t.equal(store(last).values.get('d'), 'd 1499')
})

t.test('lines of an earlier version are taken over, except a torn line without content', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const lines = Array.from({ length: 1000 }, (_, i) => `{"n":${i}}`)
  writeFileSync(path, `\n${lines.join('\n')}\n`)
  const journal = await reopened(t, path)
  t.same(journal.takeRecords(), lines)
  t.notOk(existsSync(path), 'its file is gone')
  await journal.append('new')
  t.same((await reopened(t, path, journal)).takeRecords(), [...lines, 'new'])
})

t.test('lines written by an earlier version after a downgrade are appended', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const journal = await reopened(t, path)
  await journal.append('of this version')
  writeFileSync(path, 'of the earlier one\n')
  t.same((await reopened(t, path, journal)).takeRecords(), ['of this version', 'of the earlier one'])
})

t.test('no line is lost, whichever call fails while lines are taken over', async (t) => {
  for (let nth = 1, failed = true; failed; nth++) {
    const path = join(tmpfs(t), 'journal')
    writeFileSync(path, 'one\ntwo\n')
    const end = failing(t, /^(pwrite|fdatasync|fsync|unlinkat|ftruncate|openat2)$/, 5, nth, true)
    const first = await RecordJournal.open(path, 'test').then(
      (journal) => journal,
      () => undefined,
    )
    end()
    failed = first === undefined
    const found = (await reopened(t, path, first)).takeRecords()
    t.same([...new Set(found)], ['one', 'two'], `call ${nth}`)
    t.same(readdirSync(dirname(path)), ['journal.log'], `call ${nth}`)
  }
})

t.test('on a full disk the old lines stay valid, and are taken over when there is space', async (t) => {
  const path = join(t.testdir({}), 'journal')
  writeFileSync(path, 'one\ntwo\n')
  const end = failing(t, /^pwrite$/, 28)
  const journal = await reopened(t, path)
  t.same(journal.takeRecords(), ['one', 'two'])
  await t.rejects(journal.append('three'), { code: 'ENOSPC' })
  t.equal(readFileSync(path, 'utf8'), 'one\ntwo\n')
  end()
  await journal.append('four')
  t.notOk(existsSync(path))
  t.same((await reopened(t, path, journal)).takeRecords(), ['one', 'two', 'four'])
})

t.test('a damaged record affects no other record', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const journal = await reopened(t, path)
  for (const record of ['first', 'damaged', 'last']) await journal.append(record)
  await journal.close()
  const bytes = readFileSync(`${path}.log`)
  bytes[bytes.indexOf('damaged')]! ^= 1
  writeFileSync(`${path}.log`, bytes)
  appendFileSync(`${path}.log`, 'torn')
  t.same((await reopened(t, path)).takeRecords(), ['first', 'last'])
})
