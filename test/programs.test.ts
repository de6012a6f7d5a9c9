import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseOptions, UsageError } from './helpers/program-options.ts'

t.setTimeout(200_000)
const top = fileURLToPath(new URL('..', import.meta.url))
const { scripts } = JSON.parse(readFileSync(`${top}/package.json`, 'utf8')) as { scripts: Record<string, string> }

/** Programs that people run with options. */
const PROGRAMS = [
  'test:crash',
  'test:faults',
  'test:mutation',
  'test:stress',
  'test:fuzz:webdav',
  'bench:copy-up-latency',
  'bench:nfs',
  'bench:views',
  'bench:webdav',
]

/** Runs a script of package.json without npm. */
function run(name: string, ...args: string[]) {
  const [, ...words] = (scripts[name] as string).split(' ')
  const { status, stdout, stderr } = spawnSync(process.execPath, [...words, ...args], { cwd: top, encoding: 'utf8' })
  return { status, stdout, stderr }
}

for (const name of PROGRAMS)
  t.test(`${name}: --help says what it does and with which options; an unknown one is refused`, async (t) => {
    const help = run(name, '--help')
    t.equal(help.status, 0, help.stderr)
    t.match(help.stdout, new RegExp(`npm run ${name} -- \\[OPTIONS\\]`))
    t.match(help.stdout, /--help/)
    const wrong = run(name, '--sceds', '3')
    t.not(wrong.status, 0)
    t.match(wrong.stderr, /--sceds/)
  })

t.test('test:crash -- --views has options of its own', async (t) => {
  t.match(run('test:crash', '--views', '--help').stdout, /--sample N/)
  t.match(run('test:crash', '--views', '--options', 'index=off').stderr, /--options.*\nTry npm run test:crash/)
})

t.test('bench:views measures a few views', async (t) => {
  const { status, stdout, stderr } = run('bench:views', '--views', '5', '--files', '40', '--part', 'core')
  t.equal(status, 0, stderr)
  t.match(stdout, /make and open: median .* ms +< 3 ms/)
  t.match(stdout, /bars missed\n$/)
})

t.test('options have types, defaults, and errors that say what they need', async (t) => {
  const options = {
    jobs: { type: 'number', least: 1, default: 2, help: '' },
    gib: { type: 'number', fraction: true, default: 1, help: '' },
    on: { type: 'word', words: ['tmpfs', 'disk'], default: 'tmpfs', help: '' },
    scenario: { type: 'text', default: '', help: '' },
    list: { type: 'flag', help: '' },
  } as const
  t.same(parseOptions(options, []), { jobs: 2, gib: 1, on: 'tmpfs', scenario: '', list: false })
  t.same(parseOptions(options, ['--jobs', '3', '--gib=0.5', '--on', 'disk', '--scenario', 'a b', '--list']), {
    ...{ jobs: 3, gib: 0.5, on: 'disk', scenario: 'a b', list: true },
  })
  t.equal(parseOptions(options, ['--help']), undefined)
  for (const [args, message] of [
    [['--jobs', '0'], "--jobs needs a whole number from 1 on, not '0'"],
    [['--jobs', '1.5'], "--jobs needs a whole number from 1 on, not '1.5'"],
    [['--gib', 'x'], "--gib needs a number from 0 on, not 'x'"],
    [['--on', 'ext4'], "--on needs tmpfs or disk, not 'ext4'"],
    [['--job', '1'], "Unknown option '--job'"],
  ] as const)
    t.throws(() => parseOptions(options, args), new UsageError(message))
})
