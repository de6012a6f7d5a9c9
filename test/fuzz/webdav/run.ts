/** `npm run test:fuzz:webdav`: see `--help`. */
import { readOptions } from '../../helpers/program-options.ts'
import { fuzzWebdav } from './fuzzer.ts'

const { seconds, seed } = readOptions({
  name: 'test:fuzz:webdav',
  about: `Sends valid, invalid and torn WebDAV requests to the adapter. The same seed draws the same requests. Fails (status 1) if there was a problem.`,
  options: {
    seconds: { type: 'number', least: 1, default: 30, help: 'how long' },
    seed: {
      type: 'number',
      default: Date.now() % 1_000_000,
      help: 'the seed of the requests; by the clock if not given',
    },
  },
})
const { problems, requests, answers } = await fuzzWebdav(seed, seconds)
console.log(`seed ${seed}: ${requests} requests in ${seconds} s; answers: ${JSON.stringify(answers)}`)
for (const problem of problems) console.log(problem)
console.log(problems.length === 0 ? 'no problems' : `${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
