/** `npm run test:mutation`: see `--help`. */
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { readOptions } from '../helpers/program-options.ts'
import { CORE_FAULTS } from './faults-core.ts'
import { PROTOCOL_FAULTS } from './faults-protocols.ts'
import { type Outcome, Workshop } from './workshop.ts'

const MOST_JOBS = 16

const values = readOptions({
  name: 'test:mutation',
  about: `Plants one fault after the other in copies of the sources, and runs the tests of its area, which must notice it. Prints a table.
Fails (status 1) if a fault was not noticed.`,
  options: {
    area: { type: 'text', default: '', help: 'only areas whose name contains TEXT' },
    jobs: {
      type: 'number',
      least: 1,
      default: availableParallelism(),
      help: `copies in use at once, up to ${MOST_JOBS}`,
    },
    list: { type: 'flag', help: 'only lists the faults' },
  },
})
const top = fileURLToPath(new URL('../..', import.meta.url))
const faults = [...CORE_FAULTS, ...PROTOCOL_FAULTS].filter((fault) => fault.area.includes(values.area))
if (values.list) {
  for (const { area, title, file } of faults) console.log(`${area}: ${title} (${file})`)
  process.exit()
}

const outcomes: Outcome[] = []
const broken = new Set<string>()
const tests = [...new Set(faults.flatMap((fault) => fault.tests))]
const workshops = Array.from({ length: Math.min(values.jobs, MOST_JOBS) }, () => new Workshop(top))
try {
  await each(tests, async (workshop, test) => {
    if (!(await workshop.passes(test))) broken.add(test)
  })
  await each(faults, async (workshop, fault) => {
    const usable = { ...fault, tests: fault.tests.filter((test) => !broken.has(test)) }
    const outcome = await workshop.try(usable)
    outcomes.push(outcome)
    console.log(`${outcome.kind.padEnd(8)} ${fault.area}: ${fault.title} (${outcome.seconds.toFixed(1)} s)`)
  })
} finally {
  for (const workshop of workshops) workshop.close()
}
report()

/** Has the workshops do `work` for all of `items`, each one at a time. */
async function each<T>(items: readonly T[], work: (workshop: Workshop, item: T) => Promise<void>): Promise<void> {
  const waiting = [...items]
  await Promise.all(
    workshops.map(async (workshop) => {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(workshop, item)
    }),
  )
}

/** Prints the table and sets the exit status: 1 when a fault was not noticed, or could not be planted, or a test fails without one. */
function report(): void {
  console.log('\n| area | faults | noticed |\n|---|---|---|')
  for (const name of new Set(faults.map(({ area }) => area))) {
    const own = outcomes.filter(({ fault }) => fault.area === name)
    console.log(`| ${name} | ${own.length} | ${own.filter(({ kind }) => kind === 'noticed').length} |`)
  }
  for (const test of broken) console.log(`fails without a fault: ${test}`)
  const missed = outcomes.filter(({ kind }) => kind !== 'noticed')
  for (const { fault, kind, by } of missed) console.log(`${kind}: ${fault.area}: ${fault.title}: ${by}`)
  console.log(`${outcomes.length - missed.length} of ${outcomes.length} planted faults were noticed`)
  process.exitCode = missed.length > 0 || broken.size > 0 ? 1 : 0
}
