import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LogFile } from '../../../overlay-core/base/log-file.ts'
import { type LogFormat, RecordLog } from '../../../overlay-core/base/record-log.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { closeSync, closesDone, openRoot } from '../../../overlay-core/sys/open.ts'
import { tmpfs } from '../../helpers/tmpfs.ts'

t.setTimeout(120_000)

const BATCHED: LogFormat = { kind: 'test', durability: 'batched', unwritten: 'kept' }
const ALWAYS: LogFormat = { kind: 'test', durability: 'always', unwritten: 'dropped' }
const ENOSPC = 28
const EIO = 5

interface Opened {
  readonly log: RecordLog
  readonly found: string[]
}

async function folder(t: Test, path = t.testdir({})) {
  const dirFd = await openRoot(path)
  t.teardown(() => closeSync(dirFd))
  const open = async (format: LogFormat = BATCHED): Promise<Opened> => {
    const file = await LogFile.in(dirFd, 'log')
    t.teardown(() => file.close())
    const found: string[] = []
    const log = await RecordLog.open(file, format, (record) => {
      found.push(text(record))
    })
    return { log, found }
  }
  return { path: join(path, 'log'), dirFd, open }
}

const bytes = (record: string): Buffer => Buffer.from(record, 'latin1')
const text = (record: Uint8Array): string => Buffer.from(record).toString('latin1')

async function write(log: RecordLog, records: Iterable<string>): Promise<number[]> {
  const places = [...records].map((record) => log.append(bytes(record)))
  await log.flushed()
  return places
}

/** Asks `before` ahead of each system call, until the function that it returns is called. */
function watch(t: Test, before: (op: string) => number): () => void {
  const end = () => setFaultPoints(undefined)
  setFaultPoints({ before, after: nothing })
  t.teardown(end)
  return end
}

/** Has the `nth` call of `op` from now on, and those after it when `lasting`, fail with `errno`. */
function failing(t: Test, op: string, errno: number, { nth = 1, lasting = false } = {}): () => void {
  let calls = 0
  return watch(t, (name) => (name === op && (++calls === nth || (lasting && calls > nth)) ? errno : 0))
}

t.test('records that the event loop has time to write are in the file at once', async (t) => {
  const { open, path } = await folder(t)
  const { log } = await open()
  const records: string[] = []
  let atOnce = 0
  // The first calls go to the pool, and later ones while the loop has no time.
  for (let count = 0; count < 5000 && atOnce < 5; count++) {
    const record = `record ${count}`
    records.push(record)
    log.append(bytes(record))
    const writing = log.flushed()
    if (writing === undefined) {
      atOnce++
      t.ok(readFileSync(path).subarray(-record.length).equals(bytes(record)), 'it is the end of the file')
    }
    await writing
    await new Promise(setImmediate)
  }
  t.equal(atOnce, 5)
  t.same((await open()).found, records)
})

t.test('appended records survive a restart in order, and can be read by offset before and after', async (t) => {
  const { open } = await folder(t)
  const { log, found } = await open()
  t.same(found, [])
  const long = 'x'.repeat(3_000_000)
  const records = ['one', 'two', long, 'four']
  const places = records.map((record) => log.append(bytes(record)))
  const before = await Promise.all(places.map((place) => log.read(place)))
  t.same(
    before.map((record) => text(record!)),
    records,
    'while they wait',
  )
  const flying = log.flushed()
  t.same(text((await log.read(places[1]!))!), 'two', 'on their way')
  await flying
  t.equal(log.flushed(), undefined, 'nothing is left to be written')
  for (const one of [log, (await open()).log]) {
    t.same(
      (await Promise.all(places.map((place) => one.read(place)))).map((record) => text(record!)),
      records,
    )
    t.equal(await one.read(places[1]! + 1), undefined, 'no record begins there')
    t.equal(await one.read(one.end), undefined)
  }
  t.same((await open()).found, records)
})

t.test('a record torn at any byte is cut off, and earlier records stay', async (t) => {
  const { path, open } = await folder(t)
  const { log } = await open()
  await write(log, ['first', 'second'])
  const { size: whole } = statSync(path)
  await write(log, ['the last one, which is torn'])
  const all = readFileSync(path)
  for (let end = 0; end <= all.length; end++) {
    writeFileSync(path, all.subarray(0, end))
    const expected = end === all.length ? 3 : end >= whole ? 2 : undefined
    const { log: again, found } = await open()
    if (expected !== undefined && found.length !== expected) t.fail(`${end}: ${found.length} records`)
    if (end < all.length && end >= whole && statSync(path).size !== whole) t.fail(`${end}: the torn end is there`)
    await write(again, ['after'])
    const { found: then } = await open()
    if (then.at(-1) !== 'after' || then.length !== found.length + 1) t.fail(`${end}: ${then.length} records then`)
  }
  writeFileSync(path, Buffer.concat([all, Buffer.alloc(70_000)]))
  t.equal((await open()).found.length, 3, 'blocks that were allocated and never written are no records')
  t.equal(statSync(path).size, all.length)
})

t.test('a flipped bit destroys only the record that contains it', async (t) => {
  const { path, open } = await folder(t)
  const { log } = await open()
  const records = ['first', 'in the middle', 'last']
  const [, from = 0, to = 0] = await write(log, records)
  const all = readFileSync(path)
  for (let at = from; at < to; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const damaged = Buffer.from(all)
      damaged[at]! ^= 1 << bit
      writeFileSync(path, damaged)
      const { log: again, found } = await open()
      if (found.join() !== 'first,last') t.fail(`bit ${bit} of ${at}: ${found.join()}`)
      if (again.damagedBytes !== to - from) t.fail(`bit ${bit} of ${at}: ${again.damagedBytes} bytes are damaged`)
    }
  }
})

t.test('the content of a record is never mistaken for a record, even in a damaged file', async (t) => {
  const { path, open } = await folder(t)
  const other = await folder(t, tmpfs(t))
  const forged = await other.open()
  await write(forged.log, ['forged'])
  const frames = readFileSync(other.path).subarray(16)
  const { log } = await open()
  await write(log, ['first', text(frames).repeat(20), 'last'])
  const all = readFileSync(path)
  all.writeUInt32LE(all.readUInt32LE(16 + 13 + 4) - 1, 16 + 13 + 4)
  writeFileSync(path, all)
  t.same((await open()).found, ['first', 'last'])
})

t.test('a file of another kind, or with other content, is replaced by an empty log', async (t) => {
  const { path, open } = await folder(t)
  for (const content of ['something else', '', 'OVLLOG01other\0\0\0', 'OVLLOG01']) {
    writeFileSync(path, content)
    t.same((await open()).found, [], content)
    const { log } = await open()
    await write(log, ['new'])
    t.same((await open()).found, ['new'], content)
  }
})

t.test('appends during a write share the next write', async (t) => {
  const { open } = await folder(t)
  const { log } = await open(ALWAYS)
  let syncs = 0
  watch(t, (op) => {
    if (op === 'fdatasync') syncs++
    return 0
  })
  const all: (Promise<void> | undefined)[] = []
  for (let i = 0; i < 100; i++) {
    log.append(bytes(`record ${i}`))
    all.push(log.flushed())
    if (i === 0) await Promise.resolve()
  }
  await Promise.all(all)
  t.ok(syncs >= 1 && syncs <= 2, `${syncs} syncs`)
  t.equal((await open()).found.length, 100)
})

t.test('records for which there is no space are kept and written later, up to a limit', async (t) => {
  const { open } = await folder(t)
  const { log } = await open(BATCHED)
  await write(log, ['first'])
  const end = failing(t, 'pwrite', ENOSPC, { lasting: true })
  const place = log.append(bytes('kept'))
  await t.rejects(log.flushed()!, { code: 'ENOSPC' })
  await t.rejects(log.sync(), { code: 'ENOSPC' })
  t.equal(text((await log.read(place))!), 'kept')
  let noted = 0
  while (log.append(Buffer.alloc(100_000, 'x')) !== 0) noted++
  t.ok(noted * 100_000 <= 4_200_000, `${noted} wait`)
  end()
  await log.flushed()
  await write(log, ['after'])
  const { found } = await open()
  t.same([found[0], found[1], found.at(-1), found.length], ['first', 'kept', 'after', noted + 3])
  t.equal(text((await log.read(place))!), 'kept', 'at the same place')
})

t.test('dropped records never come back, whether the write or the sync failed', async (t) => {
  for (const op of ['pwrite', 'fdatasync']) {
    const { open } = await folder(t, tmpfs(t))
    const { log } = await open(ALWAYS)
    for (const round of ['the first write', 'a later one']) {
      const end = failing(t, op, EIO)
      for (const record of ['aa', 'bb', 'cc']) log.append(bytes(record))
      const failed = log.flushed()
      const rejected = t.rejects(failed!, { code: 'EIO' })
      await Promise.resolve()
      log.append(bytes('dd'))
      const follows = log.flushed()
      await rejected
      await follows
      end()
      t.notMatch((await open(ALWAYS)).found.join(), /aa|bb|cc/, `${op}, ${round}`)
    }
    t.same((await open(ALWAYS)).found, ['dd', 'dd'], op)
  }
})

t.test('on a really full disk no record is lost or invented', async (t) => {
  const path = tmpfs(t)
  execFileSync('mount', ['-o', 'remount,size=256k', path])
  const { open } = await folder(t, path)
  const { log } = await open(ALWAYS)
  const good: string[] = []
  let failures = 0
  for (let i = 0; i < 100 && failures < 20; i++) {
    const record = `${i}:${'x'.repeat(9000)}`
    log.append(bytes(record))
    const written = await log.flushed()!.then(
      () => true,
      () => false,
    )
    if (written) good.push(record)
    else failures++
  }
  t.ok(failures >= 20 && good.length > 10, `${good.length} written, ${failures} not`)
  t.same((await open(ALWAYS)).found, good)
  execFileSync('mount', ['-o', 'remount,size=1m', path])
  await write(log, ['room again'])
  t.same((await open(ALWAYS)).found, [...good, 'room again'])
})

t.test('reserved space can be written on a full disk, and the log can start over in it', async (t) => {
  const path = tmpfs(t)
  execFileSync('mount', ['-o', 'remount,size=256k', path])
  const { open } = await folder(t, path)
  const { log } = await open({ kind: 'test', durability: 'never', unwritten: 'dropped' })
  await log.reserve(64 * 1024)
  try {
    for (let i = 0; ; i++) writeFileSync(join(path, `filler${i}`), Buffer.alloc(4096))
  } catch (error) {
    t.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  }
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 60; i++) await write(log, [`${round}.${i} ${'x'.repeat(1000)}`])
    log.rewind()
  }
  await write(log, ['last'])
  const { found } = await open()
  t.equal(found[0], 'last')
  t.ok(
    found.slice(1).every((record) => record.startsWith('2.')),
    'beside those of the round before',
  )
})

/** Two thirds of the records are dead. */
const isAlive = (record: string): boolean => Number(record.split(' ')[0]) % 3 === 0

t.test('100,000 records are replayed and rewritten during appends, without blocking the event loop', async (t) => {
  const { path, open } = await folder(t)
  const { log } = await open()
  const count = 100_000
  await write(
    log,
    Array.from({ length: count }, (_, i) => `${i} ${'y'.repeat(i % 50)}`),
  )
  const { ino, size } = statSync(path)
  let places = new Map<string, number>()
  const fresh = new Map<string, number>()
  let turns = 0
  const ticking = setInterval(() => turns++, 1)
  const compacting = log.compact(
    (record, _at, to) => {
      if (!isAlive(text(record))) return undefined
      fresh.set(text(record), to)
      return record
    },
    () => {
      places = fresh
    },
  )
  const answered: string[] = []
  for (let i = 0; i < 40; i++) {
    const record = `${3 * (count + i)} while it runs`
    log.append(bytes(record))
    await log.flushed()
    if (!readFileSync(path, 'latin1').includes(record)) t.fail(`${record} is not in the file when that was answered`)
    answered.push(record)
    if (i % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await compacting
  clearInterval(ticking)
  t.ok(turns > 3, `${turns} turns of the loop`)
  t.not(statSync(path).ino, ino)
  t.ok(statSync(path).size < size / 2)
  t.equal(log.rewrites, 1)
  const { found } = await open()
  const alive = Math.ceil(count / 3)
  t.equal(found.length, alive + answered.length)
  t.same(found.slice(alive), answered)
  for (const record of [found[0]!, found[alive - 1]!]) t.equal(text((await log.read(places.get(record)!))!), record)
})

t.test('whichever step of a rewrite fails, the log continues, and nothing is lost', async (t) => {
  const steps = ['openat2', 'pwrite', 'fsync', 'renameat2']
  for (const op of steps) {
    for (const nth of [1, 2]) {
      const { path, open } = await folder(t, tmpfs(t))
      const { log } = await open()
      await write(log, ['0', '1', '2', '3'])
      const end = failing(t, op, EIO, { nth })
      const compacting = log.compact((record) => (isAlive(text(record)) ? record : undefined), nothing)
      log.append(bytes('6'))
      const failed = await Promise.allSettled([compacting, log.flushed()])
      end()
      await write(log, ['9'])
      const name = `${op} ${nth}: ${failed.map(({ status }) => status).join()}`
      const { found } = await open()
      t.same(found.filter(isAlive), ['0', '3', '6', '9'], name)
      await log.compact((record) => (isAlive(text(record)) ? record : undefined), nothing)
      t.same((await open()).found, ['0', '3', '6', '9'], name)
      t.same(readdirSync(join(path, '..')), ['log'], name)
    }
  }
})

t.test('a rewrite killed between two steps leaves the old file or the new one', async (t) => {
  const { path, open } = await folder(t)
  const { log } = await open()
  await write(log, ['0', '1', '2', '3'])
  const old = readFileSync(path)
  await log.compact((record) => (isAlive(text(record)) ? record : undefined), nothing)
  const fresh = readFileSync(path)
  for (let end = 0; end <= fresh.length; end++) {
    writeFileSync(path, old)
    writeFileSync(`${path}.new`, fresh.subarray(0, end))
    if ((await open()).found.length !== 4) t.fail(`killed when ${end} bytes of the new file were written`)
    t.throws(() => statSync(`${path}.new`), { code: 'ENOENT' })
  }
  writeFileSync(path, fresh)
  t.same((await open()).found, ['0', '3'])
})

t.test("a log is replaced by its owner's live records, followed by those appended meanwhile", async (t) => {
  const { open } = await folder(t)
  const { log } = await open(ALWAYS)
  const live = new Set<string>()
  const add = async (record: string) => {
    live.add(record)
    log.append(bytes(record))
    await log.flushed()
  }
  for (let i = 0; i < 20; i++) await add(`dead ${i}`)
  live.clear()
  const before = add('before')
  const replacing = log.replaceWith(() => [...live].map(bytes))
  const after = add('after')
  await Promise.all([before, replacing, after])
  t.same([...new Set((await open(ALWAYS)).found)].sort(), ['after', 'before'])
  t.equal(log.records, (await open(ALWAYS)).found.length)
  const end = failing(t, 'renameat2', EIO)
  const failed = t.rejects(
    log.replaceWith(() => [bytes('only this')]),
    { code: 'EIO' },
  )
  const written = add('written to the old file')
  await Promise.all([failed, written])
  end()
  t.ok((await open(ALWAYS)).found.includes('written to the old file'))
  t.notOk((await open(ALWAYS)).found.includes('only this'))
})

t.test('rewriting logs leaks no descriptor', async (t) => {
  const { open } = await folder(t)
  const { log } = await open()
  await write(log, ['0'])
  const count = () => readdirSync('/proc/self/fd').length
  const before = count()
  for (let i = 0; i < 5; i++) await log.replaceWith(() => [bytes('0')])
  const end = failing(t, 'fsync', EIO, { lasting: true })
  for (let i = 0; i < 5; i++)
    await t.rejects(
      log.replaceWith(() => [bytes('0')]),
      { code: 'EIO' },
    )
  end()
  await closesDone()
  t.equal(count(), before)
})

t.test('making a name durable is tried again after a failure', async (t) => {
  const { open } = await folder(t)
  const { log } = await open()
  const end = failing(t, 'fsync', EIO, { nth: 2 })
  log.append(bytes('x'))
  await t.rejects(log.sync(), { code: 'EIO' }, 'the second fsync is that of the directory')
  let syncs = 0
  end()
  watch(t, (op) => {
    if (op === 'fsync') syncs++
    return 0
  })
  await log.sync()
  t.equal(syncs, 2)
  await log.sync()
  t.equal(syncs, 2, 'nothing to do')
  log.append(bytes('y'))
  await log.sync()
  t.equal(syncs, 3, 'the name once only')
})

t.test('a record that is empty or too long is refused', async (t) => {
  const { open } = await folder(t)
  const { log } = await open()
  t.throws(() => log.append(new Uint8Array(0)), { code: 'EFBIG' })
  t.throws(() => log.append(new Uint8Array(9 * 1024 * 1024)), { code: 'EFBIG' })
  await write(log, ['x'])
  t.same((await open()).found, ['x'])
})

function nothing(): undefined {
  return undefined
}
