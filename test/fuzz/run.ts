/** `npm run test:fuzz -- [--seconds N] [--seed S]`: see the manual below. */
import { parseArgs } from 'node:util'
import { Fuzzer } from './fuzzer.ts'

const MANUAL = `usage: npm run test:fuzz -- [--seconds N] [--seed S] [--bound MS]

Sends mutated RPC, MOUNT, NFS, portmap and NLM calls and broken record streams, made of the corpus in test/fuzz/corpus, to an NFS server in a
process of its own, and ends with status 1 when the server ends, logs an error, leaves a well-formed call unanswered, keeps memory, sockets
or descriptors, or damages the tree.

  --seconds N   how long; default 30
  --seed S      where to begin; default of the time. The same seed sends the same, as far as answers do not differ.
  --bound MS    how long a well-formed call may take; default 10000
`

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    seed: { type: 'string' },
    bound: { type: 'string' },
    help: { type: 'boolean' },
  },
})
if (values.help) {
  process.stdout.write(MANUAL)
} else {
  const seed = Number(values.seed ?? Date.now() % 1_000_000)
  const seconds = Number(values.seconds ?? 30)
  const boundMs = Number(values.bound ?? 10_000)
  if (!(seconds > 0 && boundMs > 0 && Number.isInteger(seed))) throw new Error(MANUAL)
  console.log(`seed ${seed}`)
  const { problems, calls, streams, answered, reached, first, last } = await new Fuzzer({
    seed,
    seconds,
    boundMs,
    print: console.log,
  }).run()
  const counts = Object.entries(answered).sort((a, b) => b[1] - a[1])
  console.log(
    `seed ${seed}: ${calls} calls and ${streams} streams in ${seconds} s; answers: ${counts.map(([kind, n]) => `${kind} ${n}`).join(', ')}`,
  )
  const programs = Object.entries(reached).map(([program, n]) => `${program} ${n}`)
  console.log(`calls that reached a procedure, by program: ${programs.join(', ')}`)
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1)
  console.log(
    `memory in use ${mb(first.heap + first.buffers)} MB, at the end ${mb(last.heap + last.buffers)} MB; resident ${mb(last.resident)} MB`,
  )
  console.log(problems.length === 0 ? 'no problems' : `${problems.length} problems`)
  process.exitCode = problems.length === 0 ? 0 : 1
}
