import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { accepts } from '../bench/nfs/processes.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { freePort } from './helpers/proxies.ts'
import { makeScratch } from './helpers/scratch.ts'
import { quote, ShellError } from './helpers/shell.ts'

// bench:nfs itself: every operation of its load, with a peer that runs already (another overlayd), both ways of printing, and what it says of wrong options.
// The loaders that the test runner hands down would be in the way of the compiler.

t.setTimeout(300_000)
const scratch = makeScratch(t)
const { sh } = scratch
const main = fileURLToPath(new URL('../bench/nfs/main.ts', import.meta.url))
const bench = (options: string) =>
  sh(`env -u NODE_OPTIONS TMPDIR=$PWD ${quote(process.execPath)} ${quote(main)} ${options}`, 240_000)

await sh('mkdir -p tree upper work')
await bench('--tree tree')
const peer = await startOverlayd(scratch, {
  lowerdir: [join(scratch.path, 'tree')],
  upperdir: join(scratch.path, 'upper'),
  workdir: join(scratch.path, 'work'),
})
const sync = "--rounds 1 --modes sync --only 'write4k-sync upper'"
const address = `${peer.nfs.host}:${peer.nfs.port} --peer-export ${peer.nfs.export}`

/** One line that `--json` prints. */
interface Line {
  readonly server: string
  readonly row: string
  readonly rate: number
  readonly p99us: number
  readonly wrong: number
  readonly refused: number
  readonly residentMb?: number
}

t.test('every operation is measured on both servers, and every answer is right', { timeout: 240_000 }, async (t) => {
  const printed = await bench(
    `--peer ${address} --warm-up 0.2 --json --only null,upper --rounds 1 --seconds 0.4 --shapes 2x2 --modes async`,
  )
  const lines = printed
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
  const measured = lines.filter(({ residentMb }) => residentMb === undefined)
  const rows = new Set(measured.map(({ row }) => row))
  t.equal(rows.size, 11)
  t.equal(measured.length, 2 * rows.size, 'peer and overlayd in turn')
  for (const { server, row, rate, p99us, wrong, refused } of measured) {
    t.ok(rate > 0 && p99us > 0 && wrong === 0 && refused === 0, `${row} of ${server}: ${rate}/s`)
  }
  t.ok((lines.at(-1)?.residentMb ?? 0) > 10, 'memory after the run')
})

t.test('the table has medians, ratios, bars, p99 and processor time', { timeout: 240_000 }, async (t) => {
  const printed = await bench(`--peer ${address} ${sync} --seconds 0.3 --warm-up 0 --shapes 4x16`)
  t.match(printed, /^sync, 4 .+ 16 .*, 1 rounds; peer: 127\.0\.0\.1:\d+$/m)
  t.match(printed, /peer\/s +ours\/s +ratio +bar .*p50\/p99.*CPU/)
  t.match(printed, /^WRITE 4 KiB FILE_SYNC, upper +\d+ +\d+ +\d+\.\d\d +1\.1/m)
  t.match(printed, /memory of overlayd \(sync\) after the run: \d+ MB/)
})

t.test('over TLS, with stunnel in front of the peer, every answer is right', { timeout: 240_000 }, async (t) => {
  const port = await freePort()
  await sh(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -subj /CN=bench 2> /dev/null
    cat > stunnel.conf << 'END'
foreground = yes
pid =
cert = ${scratch.path}/cert.pem
key = ${scratch.path}/key.pem
[nfs]
accept = 127.0.0.1:${port}
connect = ${peer.nfs.host}:${peer.nfs.port}
END`)
  const stunnel = spawn('stunnel4', [join(scratch.path, 'stunnel.conf')], { stdio: 'ignore', detached: true })
  scratch.killAtEnd(stunnel.pid!)
  while (stunnel.exitCode === null && !(await accepts('127.0.0.1', port))) await sh('sleep 0.1')
  const printed = await bench(
    `--tls --peer 127.0.0.1:${port} --peer-export ${peer.nfs.export} --warm-up 0 --json --only upper --rounds 1 --seconds 0.3 --shapes 2x2 --modes async`,
  )
  const lines = printed
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
    .filter(({ residentMb }) => residentMb === undefined)
  t.equal(lines.length, 20)
  for (const { server, row, rate, wrong, refused } of lines)
    t.ok(rate > 0 && wrong === 0 && refused === 0, `${row} of ${server}: ${rate}/s`)
})

t.test('wrong options are refused with what is wrong', async (t) => {
  for (const [options, said] of [
    ['--shapes 1', "'1' is not CONNECTIONSxREQUESTS"],
    ['--modes fast', "'fast' is neither async nor sync"],
    ['--rounds 0', "--rounds needs a number above 0, not '0'"],
  ] as const) {
    const error = await bench(options).catch((error: unknown) => error)
    t.ok(error instanceof ShellError && error.output.includes(said), `${options}: ${error}`)
  }
})
