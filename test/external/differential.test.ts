import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

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

t.test('a divergence is shrunk to the fewest operations and printed with its seed, which shows it again', async (t) => {
  const planted = fileURLToPath(new URL('../differential/planted.ts', import.meta.url))
  const env = { ...process.env, NODE_OPTIONS: `--import=${planted}` }
  const found = async (...args: string[]) => {
    const { code, stdout } = (await run(process.execPath, [program, ...args], { env }).catch((error) => error)) as {
      code?: number
      stdout: string
    }
    t.equal(code, 1)
    return stdout
  }
  const output = await found('--rounds', '10', '--seed', '20', '--jobs', '2')
  const [, seed = '', operations] =
    /^seed (\d+): the two differ after (\d+) operations \(of \d+\):$/m.exec(output) ?? []
  t.equal(operations, '2', output)
  t.match(output, /^ {2}mkdir \S+ 01\d+\n {2}compare \n=> \S+: mode: kernel [13]\d+, overlayd \d+$/m)
  t.match(await found('--rounds', '1', '--seed', seed, '--no-shrink'), new RegExp(`^seed ${seed}: `))
})
