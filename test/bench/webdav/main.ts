/** `npm run bench:webdav`: overlayd beside other WebDAV servers over the same layers, in turn, in one run. */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mountDisk, unmountDisk } from '../nfs/disk.ts'
import { measure, type Sample } from './measure.ts'
import { measureTls, withTls } from './measure-tls.ts'
import { needsMount, PEERS, type Place, type Server, startServer } from './peers.ts'
import { report } from './report.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'
import { makeTree, ownDirectory } from './tree.ts'

const HELP = `npm run bench:webdav -- [OPTIONS]

Runs overlayd and other WebDAV servers in turn over the same layers on this machine, and prints medians and ratios. The uppers are on a
new ext4 with a journal in a file of their own. Needs root (to mount that, and the peers' kernel overlays) and the packages that test/bench/webdav/setup installs.

  --peers NAMES     comma-separated, of: ${PEERS.join(', ')}; none: overlayd alone (default: all)
  --only NAMES      scenarios, comma-separated; part of a name is enough (default: all)
  --tls             GET over TLS only, on kept connections, with wrk; peers: apache, nginx
  --rounds N        how often each scenario runs on each server (default: 3)
  --seconds N       how long one run lasts (default: 3)
  --warm-up N       how long each scenario runs on each server before it is measured, in seconds (default: 5)
  --dir DIR         where the trees go: about 1.2 GB, kept with --keep (default: the system's temporary directory)
  --keep            leaves the lower tree in DIR for the next run
  --json FILE       writes every sample there
  --help            prints this

Scenarios: ${SCENARIOS.map(({ name }) => name).join(', ')}
`

interface Settings {
  readonly servers: readonly string[]
  readonly scenarios: readonly Scenario[]
  readonly rounds: number
  readonly seconds: number
  readonly warmUp: number
  readonly dir: string
  readonly keep: boolean
  readonly tls: boolean
  readonly json: string | undefined
}

function readSettings(): Settings | undefined {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: {
      ...{ peers: text, only: text, rounds: text, seconds: text, 'warm-up': text, dir: text, json: text },
      ...{ keep: { type: 'boolean' }, tls: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    },
  })
  if (values.help) return undefined
  const wanted = values.only?.split(',')
  return {
    servers: [
      'overlayd',
      ...(values.peers ?? (values.tls ? 'apache,nginx' : PEERS.join()))
        .split(',')
        .filter((name) => name !== '' && name !== 'none'),
    ],
    scenarios: SCENARIOS.filter(({ name }) => wanted?.some((part) => name.includes(part)) ?? true).flatMap(
      (scenario) => (values.tls ? withTls(scenario) : [scenario]),
    ),
    rounds: Number(values.rounds ?? 3),
    seconds: Number(values.seconds ?? 3),
    warmUp: Number(values['warm-up'] ?? 5),
    dir: values.dir ?? tmpdir(),
    keep: values.keep ?? false,
    tls: values.tls ?? false,
    json: values.json,
  }
}

/** What has to be undone at the end, the last first. */
const undo: (() => Promise<unknown> | unknown)[] = []

async function start(name: string, lower: string, scratch: string, tls: Place['tls']): Promise<Server> {
  const base = join(scratch, name)
  const [root, upper, work, own] = ['root', 'upper', 'work', 'own'].map((part) => join(base, part)) as [
    string,
    string,
    string,
    string,
  ]
  for (const directory of [base, root, upper, work]) await ownDirectory(directory)
  if (needsMount(name)) {
    execFileSync('mount', [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
      root,
    ])
    undo.push(() => execFileSync('umount', ['-l', root]))
  }
  const { server, stop } = await startServer(name, { root, lower, upper, work, own, tls })
  undo.push(stop)
  return server
}

/** Makes a folder for one run, which is removed with all in it afterwards. */
async function inFolder<T>(server: Server, folder: string, work: () => Promise<T>): Promise<T> {
  const url = `http://127.0.0.1:${server.port}${server.prefix}${folder}`
  await request('MKCOL', url)
  try {
    return await work()
  } finally {
    // An upload that was cut off may be taking its own leftover away at the same time; what stays goes with the whole tree.
    await (await fetch(url, { method: 'DELETE' })).arrayBuffer()
  }
}

/** A certificate of one's own, with the kind of key that overlayd makes. */
function makeCertificate(directory: string): NonNullable<Place['tls']> {
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert]
  execFileSync('openssl', ['req', '-x509', ...kind, '-subj', '/CN=bench', '-addext', 'basicConstraints=CA:FALSE'], {
    stdio: 'ignore',
  })
  return { cert, key }
}

async function request(method: string, url: string): Promise<void> {
  const response = await fetch(url, { method })
  await response.arrayBuffer()
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status}`)
}

async function main(settings: Settings): Promise<void> {
  const scratch = await mkdtemp(join(settings.dir, 'bench-webdav-'))
  undo.push(() => rm(scratch, { recursive: true, force: true }))
  const home = settings.keep ? join(settings.dir, 'bench-webdav-tree') : join(scratch, 'tree')
  await mkdir(home, { recursive: true })
  const lower = join(home, 'lower')
  await makeTree(lower)
  const program = join(scratch, 'davload')
  execFileSync('cc', ['-O2', '-std=gnu11', '-o', program, join(import.meta.dirname, 'davload.c')], { stdio: 'inherit' })
  execFileSync('chmod', ['755', scratch])
  const disk = join(scratch, 'disk')
  await mkdir(disk)
  await mountDisk(disk)
  undo.push(() => unmountDisk(disk))
  const servers: Server[] = []
  for (const name of settings.servers)
    servers.push(await start(name, lower, disk, settings.tls ? makeCertificate(scratch) : undefined))
  const results = new Map<string, Map<string, Sample[]>>()
  let runs = 0
  for (const scenario of settings.scenarios) {
    const samples = new Map<string, Sample[]>(servers.map(({ name }) => [name, []]))
    results.set(scenario.name, samples)
    const run = (server: Server, seconds: number) => {
      const folder = `run-${runs++}/`
      const load = { program, scriptFile: join(scratch, 'script'), seconds, folder }
      return settings.tls
        ? measureTls(server, scenario, load)
        : inFolder(server, folder, () => measure(server, scenario, load))
    }
    // Node compiles the code of a scenario during its first tens of thousands of requests. A server runs for longer than that.
    if (settings.warmUp > 0) for (const server of servers) await run(server, settings.warmUp)
    for (let round = 0; round < settings.rounds; round++) {
      for (let i = 0; i < servers.length; i++) {
        // Another one begins each round.
        const server = servers[(i + round) % servers.length]!
        const sample = await run(server, settings.seconds)
        samples.get(server.name)!.push(sample)
        process.stderr.write(
          `${scenario.name} ${server.name}: ${Math.round(sample.rate)} ${scenario.unit}, generator ${sample.clientCores.toFixed(2)} cores\n`,
        )
      }
    }
  }
  const { text, missed } = report(settings.scenarios, results)
  process.stdout.write(`${text}\n`)
  if (settings.json !== undefined) await writeFile(settings.json, JSON.stringify(toObject(results), undefined, 1))
  if (missed.length > 0) process.exitCode = 1
}

function toObject(results: Map<string, Map<string, Sample[]>>): object {
  return Object.fromEntries([...results].map(([name, samples]) => [name, Object.fromEntries(samples)]))
}

const settings = readSettings()
if (settings === undefined) process.stdout.write(HELP)
else {
  try {
    execFileSync(join(import.meta.dirname, 'setup'), { stdio: 'inherit' })
    await main(settings)
  } finally {
    for (const step of undo.reverse()) await step()
  }
}
