import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

t.setTimeout(300_000)

const run = promisify(execFile)
const program = fileURLToPath(new URL('../differential/run.ts', import.meta.url))

/** Which options and users the two are compared under. */
const MODES: Readonly<Record<string, readonly string[]>> = {
  "the kernel's defaults": [],
  'redirect_dir=on': ['--options', 'redirect_dir=on'],
  'index=on': ['--options', 'index=on'],
  'metacopy=on': ['--options', 'metacopy=on'],
  userxattr: ['--options', 'userxattr'],
  'all of them': ['--options', 'index=on,redirect_dir=on,metacopy=on,xino=on'],
  'whiteouts as files': ['--options', 'whiteouts=files,redirect_dir=on,index=on'],
  'an upper without attributes': ['--upper-on', 'ramfs', '--options', 'redirect_dir=on,index=on'],
  'an ordinary user': ['--as', '1000'],
  'an ordinary user, and all options': ['--as', '1000', '--options', 'index=on,redirect_dir=on,metacopy=on'],
  'an ordinary user, on the disk': ['--as', '1000', '--on', 'disk'],
}

for (const [mode, args] of Object.entries(MODES)) {
  t.test(`random operations give the same on overlay-core and on the kernel's overlay: ${mode}`, async (t) => {
    const { stdout } = await run(process.execPath, [program, '--rounds', '10', '--seed', '20', ...args])
    t.match(stdout, /^10 rounds, 3000 operations \(\d+ succeeded\), no divergence/)
  })
}

t.test('calls by handles through NFSv3 give the same as descriptors of a kernel overlay', async (t) => {
  const args = ['--door', 'nfs3', '--rounds', '4', '--ops', '150', '--seed', '3']
  const { stdout } = await run(process.execPath, [program, ...args])
  t.match(stdout, /^4 rounds, 600 operations \(\d+ succeeded\), no divergence/)
})

t.test('views that share one stack are as separate as kernel overlays over the same lowers', async (t) => {
  const args = ['--views', '3', '--rounds', '4', '--ops', '450', '--options', 'redirect_dir=on,index=on', '--seed', '7']
  const { stdout } = await run(process.execPath, [program, ...args])
  t.match(stdout, /^4 rounds, 1800 operations \(\d+ succeeded\), no divergence/)
})

/** Runs with a planted fault, which must be found. */
async function found(t: Test, fault: string, ...args: string[]): Promise<string> {
  const planted = fileURLToPath(new URL(`../differential/${fault}.ts`, import.meta.url))
  const env = { ...process.env, NODE_OPTIONS: `--import=${planted}` }
  const { code, stdout } = (await run(process.execPath, [program, ...args], { env }).catch((error) => error)) as {
    code?: number
    stdout: string
  }
  t.equal(code, 1)
  return stdout
}

t.test('a divergence is shrunk to the fewest operations and printed with its seed, which shows it again', async (t) => {
  const output = await found(t, 'planted', '--rounds', '10', '--seed', '70', '--jobs', '2')
  const [, seed = '', operations] =
    /^seed (\d+): the two differ after (\d+) operations \(of \d+\):$/m.exec(output) ?? []
  t.equal(operations, '2', output)
  t.match(output, /^ {2}mkdir \S+ 01\d+\n {2}compare \n=> \S+: mode: kernel [13]\d+, overlayd \d+$/m)
  const again = await found(t, 'planted', '--rounds', '1', '--seed', seed, '--no-shrink')
  t.match(again, new RegExp(`^seed ${seed}: `))
})

t.test('a change of one view that shows in another is found, and told with both views', async (t) => {
  const output = await found(t, 'planted-leak', '--views', '3', '--rounds', '2', '--seed', '20')
  const [, seed = '', operations] =
    /^seed (\d+): the two differ after (\d+) operations \(of \d+\):$/m.exec(output) ?? []
  t.ok(Number(operations) <= 8, output)
  t.match(output, /^ {2}view (\d): mkdir \S+ \d+\n(?: {2}.*\n)* {2}view (?!\1)\d: .*\n=> /m)
  const again = await found(t, 'planted-leak', '--views', '3', '--rounds', '1', '--seed', seed, '--no-shrink')
  t.match(again, new RegExp(`^seed ${seed}: `))
})
