/** `npm run bench:nfs`: see `--help`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Row, rowsFor, shapeName } from './cases.ts'
import { mountDisk, unmountDisk } from './disk.ts'
import { layOut } from './installed.ts'
import { makeTree, makeTrees } from './layers.ts'
import { residentMb, run } from './processes.ts'
import { type Comparison, type Measurement, missed, tableOf } from './report.ts'
import {
  behindStunnel,
  type KeyPair,
  runningServer,
  type Server,
  startGanesha,
  startOverlayd,
  startUnfs3,
} from './servers.ts'
import { type BenchSettings, HELP, type Mode, readSettings, type Shape } from './settings.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
/** Said to the program when it runs in its namespaces. */
const INSIDE = 'OVERLAYD_BENCH_INSIDE'

async function main(): Promise<number> {
  const settings = readSettings(process.argv.slice(2))
  if (settings.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (settings.tree !== undefined) {
    await makeTree(settings.tree)
    return 0
  }
  const inside = process.env[INSIDE] !== undefined
  const mountsPeer = ['ganesha', 'unfs3'].includes(settings.peer)
  if (mountsPeer && !inside) return await runInside()
  const folder = await mkdtemp(join(settings.directory ?? tmpdir(), 'overlayd-bench-nfs-'))
  const ownDisk = inside && settings.directory === undefined
  try {
    if (ownDisk) await mountDisk(folder)
    return await bench(settings, folder)
  } finally {
    if (ownDisk) await unmountDisk(folder)
    await rm(folder, { recursive: true, force: true })
  }
}

/** Runs this program again where mounts, ports and processes are its own and end with it. */
async function runInside(): Promise<number> {
  const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc']
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn('unshare', [...namespaces, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...again], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  })
  const [status] = (await once(child, 'close')) as [number | null]
  return status ?? 1
}

async function bench(settings: BenchSettings, folder: string): Promise<number> {
  const load = await compile(folder, settings.tls)
  const pair = settings.tls ? await makeCertificate(folder) : undefined
  const program = await layOut(folder)
  await makeTrees(folder)
  const peer = await startPeer(settings, folder, pair)
  const comparisons: Comparison[] = []
  try {
    if (peer !== undefined) await warmUp(load, peer)
    for (const mode of settings.modes) {
      const ours = await startOverlayd(program, folder, mode, settings.nodeOptions, undefined, pair)
      try {
        await warmUp(load, ours)
        comparisons.push(...(await compareAll(settings, { load, peer, ours, mode })))
        await printMemory(settings, [peer, ours])
      } finally {
        await ours.stop()
      }
    }
  } finally {
    await peer?.stop()
  }
  const below = settings.bars ? missed(comparisons) : []
  for (const { row, shape } of below) process.stdout.write(`MISSED: ${row.name} at ${shapeName(shape)}\n`)
  return below.length === 0 ? 0 : 1
}

async function compile(folder: string, tls: boolean): Promise<string> {
  const program = join(folder, 'nfs-load')
  const sources = (await readdir(here)).filter((name) => name.endsWith('.c')).map((name) => join(here, name))
  await run('cc', [
    '-O2',
    '-Wall',
    '-std=gnu11',
    '-o',
    program,
    ...(tls ? ['-DWITH_TLS'] : []),
    ...sources,
    ...(tls ? ['-lssl', '-lcrypto'] : []),
  ])
  return program
}

async function startPeer(
  { peer, exportPath }: BenchSettings,
  folder: string,
  pair: KeyPair | undefined,
): Promise<Server | undefined> {
  if (peer === 'none') return undefined
  if (peer !== 'ganesha' && peer !== 'unfs3')
    return { ...runningServer(peer, exportPath), ...(pair && { tls: 'at once' as const }) }
  const server = peer === 'ganesha' ? await startGanesha(folder) : await startUnfs3(folder)
  return pair === undefined ? server : await behindStunnel(server, folder, pair)
}

/** A certificate of its own, with the kind of key that overlayd makes. */
async function makeCertificate(folder: string): Promise<KeyPair> {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert]
  await run('openssl', ['req', '-x509', ...kind, '-subj', '/CN=bench', '-addext', 'basicConstraints=CA:FALSE'])
  return { cert, key }
}

/** Looks everything up once, and copies `copied` up. */
async function warmUp(load: string, server: Server): Promise<void> {
  for (const directory of ['lower', 'upper']) await run(load, [...addressOf(server), '--directory', directory, 'find'])
  await run(load, [...addressOf(server), '--directory', 'copied', 'touch'])
}

interface Servers {
  readonly load: string
  readonly peer: Server | undefined
  readonly ours: Server
  readonly mode: Mode
}

async function compareAll(settings: BenchSettings, servers: Servers): Promise<Comparison[]> {
  const { mode } = servers
  const rows = rowsFor(settings).filter((row) => mode === 'async' || row.writes)
  const all: Comparison[] = []
  for (const shape of settings.shapes) {
    const comparisons: Comparison[] = []
    for (const row of rows) {
      if (shape === settings.shapes[0]) await warmUpRow(settings, servers, row)
      comparisons.push(await compare(settings, servers, row, shape))
    }
    all.push(...comparisons)
    if (!settings.json && rows.length > 0) {
      const { connections, requests } = shape
      const title = `${mode}, ${connections} × ${requests} (connections × calls under way), ${settings.rounds} rounds`
      process.stdout.write(`\n${title}; peer: ${servers.peer?.name ?? 'none'}\n${tableOf(comparisons)}\n`)
    }
  }
  return all
}

/** Lets a row run on both servers, with most calls under way, until the code for it is compiled. */
async function warmUpRow(
  { warmUpSeconds, shapes }: BenchSettings,
  { load, peer, ours }: Servers,
  row: Row,
): Promise<void> {
  if (warmUpSeconds === 0) return
  const calls = ({ connections, requests }: Shape) => connections * requests
  const [busiest] = shapes.toSorted((a, b) => calls(b) - calls(a))
  for (const server of [peer, ours]) if (server) await measure(load, server, row, busiest as Shape, warmUpSeconds)
}

/** Peer and overlayd in turn, `rounds` times. */
async function compare(settings: BenchSettings, servers: Servers, row: Row, shape: Shape): Promise<Comparison> {
  const peer: Measurement[] = []
  const ours: Measurement[] = []
  for (let round = 0; round < settings.rounds; round++) {
    for (const [server, results] of [[servers.peer, peer] as const, [servers.ours, ours] as const]) {
      if (server === undefined) continue
      const measurement = await measure(servers.load, server, row, shape, settings.seconds)
      results.push(measurement)
      if (settings.json)
        print({ server: server.name, mode: servers.mode, row: row.name, shape: shapeName(shape), ...measurement })
    }
  }
  return { row, shape, mode: servers.mode, peer, ours }
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

async function measure(load: string, server: Server, row: Row, shape: Shape, seconds: number): Promise<Measurement> {
  const { connections, requests } = shape
  const printed = await run(load, [
    ...addressOf(server),
    ...['--directory', row.kind, '--connections', String(connections), '--requests', String(requests)],
    ...['--seconds', String(seconds), ...pidsOf(server), row.operation],
  ])
  return JSON.parse(printed) as Measurement
}

function pidsOf({ pid, proxyPid }: Server): string[] {
  return [pid, proxyPid].flatMap((id) => (id === undefined ? [] : ['--pid', String(id)]))
}

function addressOf({ host, port, mountPort, exportPath, tls }: Server): string[] {
  const encrypted = tls === undefined ? [] : [tls === 'starttls' ? '--starttls' : '--tls']
  return [
    ...encrypted,
    '--host',
    host,
    '--port',
    String(port),
    '--mount-port',
    String(mountPort),
    '--export',
    exportPath,
  ]
}

async function printMemory(settings: BenchSettings, servers: readonly (Server | undefined)[]): Promise<void> {
  for (const server of servers) {
    const mb = await residentMb(server?.pid)
    if (server === undefined || mb === undefined) continue
    if (settings.json) print({ server: server.name, residentMb: mb })
    else process.stdout.write(`memory of ${server.name} after the run: ${mb.toFixed(0)} MB\n`)
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`bench:nfs: ${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}
