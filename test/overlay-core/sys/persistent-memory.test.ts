import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openPersistentMemory } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'

for (const mapped of [true, false]) {
  t.test(`what is stored is in the file at once and found again, ${mapped ? 'mapped' : 'written'}`, async (t) => {
    const path = join(t.testdir(), 'memory')
    const first = await openPersistentMemory(path, 10_000, mapped)
    t.equal(first.bytes.length, 10_000)
    t.ok(first.bytes.every((byte) => byte === 0))
    t.equal(statSync(path).mode & 0o777, 0o600)
    t.ok(statSync(path).blocks * 512 >= 10_000, 'it cannot fail later for want of space')
    first.bytes.set(Buffer.from('kept'), 5000)
    first.changed(5000, 4)
    t.equal(readFileSync(path).toString('latin1', 5000, 5004), 'kept')
    const second = await openPersistentMemory(path, 10_000, mapped)
    t.equal(Buffer.from(second.bytes).toString('latin1', 5000, 5004), 'kept')
    first.close()
    second.close()
    second.changed(0, 1)
  })
}

t.test('a file of another size, a symlink and a missing directory are refused, and stay as they are', async (t) => {
  const dir = t.testdir({ file: 'something else' })
  await t.rejects(openPersistentMemory(join(dir, 'file'), 10_000), { code: 'EINVAL' })
  t.equal(readFileSync(join(dir, 'file'), 'latin1'), 'something else')
  symlinkSync('file', join(dir, 'link'))
  await t.rejects(openPersistentMemory(join(dir, 'link'), 14), { code: 'ELOOP' })
  await t.rejects(openPersistentMemory(join(dir, 'none/file'), 14), { code: 'ENOENT' })
})

t.test('a full disk is reported at the start; later only where changes are written', async (t) => {
  const dir = t.testdir()
  writeFileSync(join(dir, 'memory'), Buffer.alloc(100))
  const memory = await openPersistentMemory(join(dir, 'memory'), 100, false)
  setFaultPoints({ before: (op) => (op === 'pwrite' || op === 'fallocate' ? 28 : 0), after: () => undefined })
  t.teardown(() => setFaultPoints(undefined))
  t.throws(() => memory.changed(0, 10), { code: 'ENOSPC' })
  await t.rejects(openPersistentMemory(join(dir, 'other'), 100), { code: 'ENOSPC' })
  setFaultPoints({ before: (op) => (op === 'fallocate' ? 95 : 0), after: () => undefined })
  const sparse = await openPersistentMemory(join(dir, 'sparse'), 100)
  sparse.changed(0, 10)
  t.equal(statSync(join(dir, 'sparse')).size, 100, 'where a file system cannot allocate it is written')
  sparse.close()
  memory.close()
})
