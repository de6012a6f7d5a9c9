import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.setTimeout(300_000)

const program = fileURLToPath(new URL('../bench/core/run.ts', import.meta.url))

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
}

t.test('bench:core measures every row, on disks of its own', async (t) => {
  const { status, stdout, stderr } = run('--tiny')
  t.equal(status, 0, stderr)
  const rows = [
    'lookup, cached',
    'getattr, cached',
    'lookup + getattr, cold, through 5 lowers',
    'readdir of merged entries',
  ]
  const copies = ['4 KiB', '1 MiB', '1 GiB'].flatMap((size) => [
    `copy-up of ${size} `,
    `copy-up of ${size}, by reflink`,
  ])
  const memory = ['memory of a cached name with its attributes', 'heap while walking a large tree']
  for (const row of [...rows, 'create + unlink', ...copies, ...memory]) {
    const line = stdout.split('\n').find((text) => text.startsWith(row))
    t.match(line, /\d/, row)
  }
  t.match(stdout, /everything runs\n$/)
})

t.test('bench:core says what is wrong with its command line in one sentence, and how to get help', async (t) => {
  const wrong = {
    '--nope': /Unknown option '--nope'/,
    '--rounds=0': /--rounds needs a whole number/,
    '--only=x,y': /no row has 'x'/,
  }
  for (const [arg, sentence] of Object.entries(wrong)) {
    const { status, stdout, stderr } = run(arg)
    t.equal(status, 2, arg)
    t.equal(stdout, '', arg)
    t.match(stderr, sentence, arg)
    t.match(stderr, /--help\n$/, arg)
    t.notMatch(stderr, /\n {4}at /, arg)
  }
  const { status, stdout } = run('--help')
  t.equal(status, 0)
  t.match(stdout, /^usage: npm run bench:core/)
})
