import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { executeRebaseOrder } from '../../../server/rebase/rebase-requests.ts'
import { ROOT } from '../../helpers/overlay.ts'
import { RebaseCourse } from '../../server/rebase/rebase-course.ts'

/** The report about many views: how long it takes, and how much processor time, for two sizes of the material. */
const { values } = parseArgs({
  options: {
    views: { type: 'string', default: '1000' },
    changes: { type: 'string', default: '100' },
    files: { type: 'string', default: '4000,20000' },
  },
})
const [views, changes] = [Number(values.views), Number(values.changes)]

/** Files of the material, of which each tenth has changed in the second version. */
function material(files: number, version: number): Record<string, string> {
  const tree: Record<string, string> = {}
  for (let i = 0; i < files; i++) tree[`d${i % 200}/f${i}`] = `file ${i} ${i % 10 === 0 ? version : 1}\n`.repeat(20)
  return tree
}

async function measure(files: number): Promise<void> {
  const dir = mkdtempSync(join('/dev/shm', 'overlayd-bench-rebase-'))
  const ends: (() => unknown)[] = []
  const test = { testdir: () => dir, teardown: (end: () => unknown) => void ends.push(end) }
  try {
    mkdirSync(dir, { recursive: true })
    const course = await RebaseCourse.start(test as never, material(files, 1))
    for (let v = 0; v < views; v++) {
      const name = `user${v}`
      await course.course.create(name)
      await course.with(name, async (overlay) => {
        for (let c = 0; c < changes; c++) {
          const file = (v * 37 + c * 13) % files
          const dir = (await overlay.lookup(ROOT, overlay.root, `d${file % 200}`))!
          const inode = (await overlay.lookup(ROOT, dir, `f${file}`))!
          await overlay.write(ROOT, inode, Buffer.from(`changed by ${name}`), 0, 'unstable')
        }
      })
    }
    course.publish('2', material(files, 2))
    const before = { cpu: process.cpuUsage(), at: performance.now() }
    const reports = await executeRebaseOrder(course.templates, { views: ['course'], dryRun: true })
    const { user, system } = process.cpuUsage(before.cpu)
    const conflicts = reports.reduce((sum, { conflictCount }) => sum + conflictCount, 0)
    const seconds = ((performance.now() - before.at) / 1000).toFixed(2)
    console.log(
      `material of ${files} files: report over ${views} views of ${changes} changes: ${seconds} s, ${((user + system) / 1e6).toFixed(2)} s of the processor, ${conflicts} conflicts`,
    )
  } finally {
    for (const end of ends) await end()
    rmSync(dir, { recursive: true, force: true })
  }
}

for (const files of values.files.split(',')) await measure(Number(files))
