import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createOwnRoots } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { closesDone } from '../../../overlay-core/sys/open.ts'

const OWN = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
const upper = { mode: 0o2755, ...OWN }
const record = { name: 'view.json', content: Buffer.from('whose it is\n') }
const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8)
const descriptors = () => readdirSync('/proc/self/fd').length

t.test('upper, workdir and record are created with their modes and owner, and no descriptor stays open', async (t) => {
  const parent = t.testdir({})
  const before = descriptors()
  // Enough calls for threads to be started, which then make all in one trip.
  for (let i = 0; i < 100; i++) await createOwnRoots({ parent, name: `v${i}`, upper, record })
  await createOwnRoots({ parent, name: 'without', upper, record: undefined })
  await closesDone()
  t.ok(descriptors() < before + 50, 'those of the threads, and no others')
  for (const name of ['v0', 'v99']) {
    t.same(readdirSync(join(parent, name)).sort(), ['upper', 'view.json', 'work'])
    t.equal(readFileSync(join(parent, name, 'view.json'), 'utf8'), 'whose it is\n')
    t.equal(modeOf(join(parent, name, 'view.json')), '600')
    for (const path of [name, join(name, 'work')]) t.equal(modeOf(join(parent, path)), '700')
    t.equal(modeOf(join(parent, name, 'upper')), '2755')
    t.equal(statSync(join(parent, name, 'upper')).uid, OWN.uid)
  }
  t.same(readdirSync(join(parent, 'without')).sort(), ['upper', 'work'])
})

t.test('a name that exists, or a parent that does not, is an error', async (t) => {
  const parent = t.testdir({ file: '' })
  mkdirSync(join(parent, 'there'))
  writeFileSync(join(parent, 'there', 'kept'), 'kept')
  await t.rejects(createOwnRoots({ parent, name: 'there', upper, record }), { code: 'EEXIST' })
  t.same(readdirSync(join(parent, 'there')), ['kept'])
  await t.rejects(createOwnRoots({ parent: join(parent, 'absent'), name: 'v', upper, record }), { code: 'ENOENT' })
  await t.rejects(createOwnRoots({ parent: join(parent, 'file'), name: 'v', upper, record }), { code: 'ENOTDIR' })
})

t.test('whatever call fails, the error tells, and no descriptor stays open', async (t) => {
  const parent = t.testdir({})
  const ENOSPC = 28
  let [count, failAt] = [0, 0]
  t.teardown(() => setFaultPoints(undefined))
  setFaultPoints({ before: () => (++count === failAt ? ENOSPC : 0), after: () => undefined })
  await createOwnRoots({ parent, name: 'whole', upper, record })
  const calls = count - 4
  const before = descriptors()
  for (failAt = 1; failAt <= calls; failAt++) {
    count = 0
    await t.rejects(createOwnRoots({ parent, name: `v${failAt}`, upper, record }), { code: 'ENOSPC' }, `call ${failAt}`)
  }
  await closesDone()
  t.equal(descriptors(), before)
  t.ok(calls >= 9)
})
