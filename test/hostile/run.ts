/** `npm run test:hostile -- [--only WORD] [--list] [--quick]`: see the manual below. */
import { parseArgs } from 'node:util'
import { ATTACKS } from './all.ts'
import { enterHostileNetwork } from './own-network.ts'
import { goFirst } from './priority.ts'
import { failuresOf, type Outcome, tableOf } from './report.ts'
import { runAttacks } from './runner.ts'

const MANUAL = `usage: npm run test:hostile -- [--only WORD]… [--quick] [--list]

Attacks overlayd as neighbours, clients, local users, layers and web pages might, one attack after the other, each on a server of its own that is
started as users start it, while another client asks it for attributes and a small file. Tells what each cost, and ends with status 1 when anything is
over its limit or otherwise not as docs/security.md promises. Needs root, as it takes a network namespace of its own.

  --only WORD   attacks whose name contains WORD
  --quick       fewer and smaller, as in npm test
  --list        names the attacks and who makes them, and does nothing
`

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const { only = [], quick, list } = values
const chosen = ATTACKS.filter(
  ({ name, quick: inQuick }) =>
    (!quick || inQuick || only.length > 0) && (only.length === 0 || only.some((word) => name.includes(word))),
)
if (values.help) process.stdout.write(MANUAL)
else if (list) for (const { name, by, what } of chosen) console.log(`${name.padEnd(42)} ${by.padEnd(13)} ${what}`)
else process.exitCode = await attackAll()

async function attackAll(): Promise<number> {
  if (chosen.length === 0) throw new Error(`no attack has ${only.join(' or ')} in its name; --list names them`)
  enterHostileNetwork(process.argv[1]!, process.argv.slice(2))
  if (!quick) goFirst()
  const outcomes = await runAttacks(chosen, { quick, begins: ({ name }) => process.stdout.write(`${name} … `), ended })
  process.stdout.write(`\n${tableOf(outcomes)}\n\n`)
  const failed = outcomes.filter((outcome) => failuresOf(outcome).length > 0)
  for (const outcome of failed) {
    process.stdout.write(`FAILED: ${outcome.attack.name} (${outcome.attack.what})\n`)
    for (const line of failuresOf(outcome)) process.stdout.write(`  ${line}\n`)
  }
  process.stdout.write(`${outcomes.length - failed.length} attacks held off, ${failed.length} not\n`)
  return failed.length === 0 ? 0 : 1
}

function ended(outcome: Outcome): void {
  const failures = failuresOf(outcome)
  process.stdout.write(`${failures.length === 0 ? 'ok' : 'FAILED'} (${outcome.seconds.toFixed(1)} s)\n`)
  for (const line of failures) process.stdout.write(`  ${line}\n`)
}
