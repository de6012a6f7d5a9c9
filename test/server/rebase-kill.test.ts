import t from 'tap'
import { killRebases } from '../crash/rebase-kill.ts'
import { AS_ROOT } from './course.ts'

t.setTimeout(400_000)

t.test('a view whose server is killed during a rebase is wholly on one version', AS_ROOT, async (t) => {
  const { failures, points, kills } = await killRebases(4)
  t.same(failures, [])
  t.equal(kills, 4)
  t.ok(points > 100, `${points} points`)
})
