import { parseArgs } from 'node:util'
import { runRound } from './round.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '10000' }, seed: { type: 'string', default: '1' } },
})
const [rounds, first] = [Number(values.rounds), Number(values.seed)]
const counts = new Map<string, number>()
let failed = 0
for (let seed = first; seed < first + rounds; seed++) {
  const { wrong, outcomes } = await runRound(seed)
  for (const { outcome } of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  if (wrong.length === 0) continue
  failed++
  console.log(`seed ${seed}:\n${wrong.map((line) => `  ${line}\n`).join('')}`)
  if (failed >= 10) break
}
const told = [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ')
console.log(`${rounds} views, ${failed} wrong; ${told}`)
process.exitCode = failed === 0 ? 0 : 1
