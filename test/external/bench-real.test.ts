import { fileURLToPath } from 'node:url'
import t from 'tap'
import { makeScratch } from './helpers/scratch.ts'
import { quote, ShellError } from './helpers/shell.ts'

// bench:real itself: a few files by a real client of each server, over both protocols, in turn; and what it says of wrong options.

t.setTimeout(600_000)
const { sh } = makeScratch(t)
const main = fileURLToPath(new URL('../bench/real/main.ts', import.meta.url))
// The loaders that the test runner hands down would be in the way of the compiler.
const bench = (options: string) =>
  sh(`env -u NODE_OPTIONS TMPDIR=$PWD ${quote(process.execPath)} ${quote(main)} ${options}`, 540_000)

/** One line that `--json` prints. */
interface Line {
  readonly protocol: string
  readonly server: string
  readonly workload: string
  readonly seconds: number
  readonly cpuSeconds: number
}

t.test('a workload is measured on both servers of each protocol', { timeout: 580_000 }, async (t) => {
  const printed = await bench("--json --rounds 1 --files 20 --only 'chmod -R of lower files,tar x of new files'")
  const lines = printed
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
  const measured = lines.map(({ protocol, server, workload }) => `${protocol} ${server}: ${workload}`).sort()
  const expected = ['nfs NFS-Ganesha', 'nfs overlayd (async)', 'webdav apache', 'webdav overlayd'].flatMap((server) =>
    ['tar x of new files', 'chmod -R of lower files'].map((workload) => `${server}: ${workload}`),
  )
  t.same(measured, expected.sort())
  for (const { workload, server, seconds, cpuSeconds } of lines) {
    t.ok(seconds > 0 && cpuSeconds >= 0, `${workload} of ${server}: ${seconds} s, ${cpuSeconds} s of processor`)
  }
})

t.test('wrong options are refused with what is wrong', async (t) => {
  for (const [options, said] of [
    ['--rounds 0', "--rounds needs a whole number from 1 on, not '0'"],
    ['--over smb', "'smb' is neither nfs nor webdav"],
    ['--mode fast', "'fast' is neither async nor sync"],
    ['--only dance', "no workload has 'dance' in its name"],
  ] as const) {
    const error = await bench(options).catch((error: unknown) => error)
    t.ok(error instanceof ShellError && error.output.includes(said), `${options}: ${error}`)
  }
})
