import t from 'tap'
import { holdClass } from '../class/class.ts'
import { AS_ROOT } from './course.ts'

t.setTimeout(300_000)

t.test(
  'a small class: each view is exactly as its student left it, over kills, resets and rollbacks',
  AS_ROOT,
  async (t) => {
    const report = await holdClass({ davStudents: 12, nfsStudents: 4, files: 500, edits: 9, seed: 7 })
    t.same(report.faults, [])
    t.equal(report.kills, 2)
    t.ok(report.refused > 5, `${report.refused} edits were refused by the quota`)
    t.ok(report.interrupted > 0, `${report.interrupted} edits were interrupted`)
    t.ok(report.conflicts > 0, `${report.conflicts} paths were changed by a student and the new version`)
    t.ok(report.differences > 200, `${report.differences} differences`)
  },
)
