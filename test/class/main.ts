/** `npm run test:class [-- --seed N] [--students N]`: a whole class works on a course, see `holdClass`. */
import { parseArgs } from 'node:util'
import { holdClass } from './class.ts'

const { values } = parseArgs({ options: { seed: { type: 'string' }, students: { type: 'string' } } })
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const students = Number(values.students ?? 220)
const nfsStudents = Math.ceil(students / 11)
process.stdout.write(`seed ${seed}\n`)
const report = await holdClass(
  { davStudents: students - nfsStudents, nfsStudents, files: 20_000, edits: 30, seed },
  (text) => process.stdout.write(`${text}\n`),
)
const { faults, conflicts, edits, refused, interrupted, kills, differences } = report
process.stdout.write(
  `${edits} edits, ${refused} refused by quotas, ${interrupted} interrupted by ${kills} kills; ${conflicts} conflicts with the new version; ${differences} differences compared\n`,
)
for (const fault of faults.slice(0, 50)) process.stdout.write(`${fault}\n`)
process.stdout.write(faults.length === 0 ? 'each view is as its student left it\n' : `${faults.length} faults\n`)
process.exitCode = faults.length === 0 ? 0 : 1
