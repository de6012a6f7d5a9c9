import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mountTable } from '../../../overlay-core/sys/mount-table.ts'

const isRoot = process.getuid?.() === 0

t.test('the table is read again exactly when a mount was added or removed', async (t) => {
  const before = await mountTable()
  t.equal(await mountTable(), before, 'the same table')
  t.ok([...before.values()].some(({ point }) => point === '/'))
  if (!isRoot) return
  const point = join(t.testdir(), 'a point')
  mkdirSync(point)
  execFileSync('mount', ['-t', 'tmpfs', 'none', point])
  try {
    const [one, two] = await Promise.all([mountTable(), mountTable()])
    t.equal(one, two)
    t.ok([...one.values()].some((mount) => mount.point === point))
  } finally {
    execFileSync('umount', [point])
  }
  t.notOk([...(await mountTable()).values()].some((mount) => mount.point === point))
})
