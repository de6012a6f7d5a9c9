/** `npm run test:fuzz:webdav -- [--seconds N] [--seed S]`: the same seed draws the same requests; ends with status 1 when there was a problem. */
import { parseArgs } from 'node:util'
import { fuzzWebdav } from './fuzzer.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } })
const seconds = Number(values.seconds ?? 30)
const seed = Number(values.seed ?? Date.now() % 1_000_000)
if (!(seconds > 0 && Number.isInteger(seed)))
  throw new Error('usage: npm run test:fuzz:webdav -- [--seconds N] [--seed S]')
const { problems, requests, answers } = await fuzzWebdav(seed, seconds)
console.log(`seed ${seed}: ${requests} requests in ${seconds} s; answers: ${JSON.stringify(answers)}`)
for (const problem of problems) console.log(problem)
console.log(problems.length === 0 ? 'no problems' : `${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
