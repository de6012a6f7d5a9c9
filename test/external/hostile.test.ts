import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ATTACKS } from '../hostile/all.ts'
import { enterHostileNetwork } from '../hostile/own-network.ts'
import { failuresOf, tableOf } from '../hostile/report.ts'
import { runAttacks } from '../hostile/runner.ts'

t.setTimeout(900_000)
enterHostileNetwork(fileURLToPath(import.meta.url), [])

// The smaller ones of `npm run test:hostile`, which makes them all at full size.
for (const outcome of await runAttacks(
  ATTACKS.filter(({ quick }) => quick),
  { quick: true },
)) {
  t.test(`${outcome.attack.name}: ${outcome.attack.what}`, async (t) => {
    t.same(failuresOf(outcome), [])
    t.ok(outcome.figures.length + outcome.checks.length > 0, 'something was looked at')
    for (const line of tableOf([outcome]).split('\n').slice(1)) t.comment(line)
  })
}
