/** `npm run bench:real`: see `--help`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mountDisk } from '../nfs/disk.ts'
import { layOut } from '../nfs/installed.ts'
import { layersFor, mountOverlay } from '../nfs/layers.ts'
import { run } from '../nfs/processes.ts'
import { startGanesha, startOverlayd } from '../nfs/servers.ts'
import { cpuSeconds } from '../webdav/measure.ts'
import { startServer } from '../webdav/peers.ts'
import type { Client } from './client.ts'
import { davfsClient } from './davfs-client.ts'
import { bootKernelClient, CLIENT_ADDRESS, HOST_ADDRESS } from './kernel-client.ts'
import { type Comparison, missed, type Sample, tableOf } from './report.ts'
import { HELP, type Protocol, type RealSettings, readSettings } from './settings.ts'
import { makeTrees } from './trees.ts'
import { chosen, type Workload } from './workloads.ts'

/** Says to the program, when it runs in its namespaces, which folder is its own. */
const INSIDE = 'OVERLAYD_BENCH_INSIDE'

/** One of the servers that are compared, and its client. */
interface Side {
  readonly name: string
  readonly pid: number
  readonly client: Client
}

/** What has to be undone at the end, the last first. */
type Undo = (() => Promise<unknown>)[]

async function main(): Promise<number> {
  const settings = readSettings(process.argv.slice(2))
  if (settings.help) {
    process.stdout.write(HELP)
    return 0
  }
  const folder = process.env[INSIDE]
  if (folder === undefined) {
    await run(join(import.meta.dirname, 'setup'), [])
    return await runInside(settings)
  }
  if (settings.folder === undefined) await mountDisk(folder)
  // The user that WebDAV is served as comes through it.
  await chmod(folder, 0o755)
  return await bench(settings, folder)
}

/** Runs this program again where mounts, ports and processes are its own and end with it, also when this one is told to end. */
async function runInside(settings: RealSettings): Promise<number> {
  const folder = await mkdtemp(join(settings.folder ?? tmpdir(), 'overlayd-bench-real-'))
  const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc']
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn('unshare', [...namespaces, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...again], {
    stdio: 'inherit',
    detached: true,
    env: { ...process.env, [INSIDE]: folder },
  })
  const kill = (): void => {
    child.kill('SIGKILL')
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, kill)
  try {
    const [status] = (await once(child, 'close')) as [number | null]
    return status ?? 1
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function bench(settings: RealSettings, folder: string): Promise<number> {
  await makeTrees(folder, settings.rounds, settings.files)
  let slower = 0
  for (const protocol of settings.protocols) {
    const undo: Undo = []
    try {
      const sides = await start(protocol, settings, folder, undo)
      const comparisons = await compareAll(settings, protocol, sides)
      if (!settings.json) {
        const rounds = `${settings.rounds} rounds, ${settings.files} files`
        const names = settings.peers ? `; peer: ${sides[0]!.name}` : ''
        process.stdout.write(`\n${protocol}, ${rounds}${names}\n${tableOf(comparisons)}\n`)
      }
      slower += comparisons.filter(missed).length
    } finally {
      for (const step of undo.reverse()) await step()
    }
  }
  return settings.bars && slower > 0 ? 1 : 0
}

/** Starts the servers of a protocol, the peer first, and their clients. */
async function start(protocol: Protocol, settings: RealSettings, folder: string, undo: Undo): Promise<Side[]> {
  return protocol === 'nfs' ? await startNfs(settings, folder, undo) : await startWebdav(settings, folder, undo)
}

async function startNfs({ peers, mode, nodeOptions }: RealSettings, folder: string, undo: Undo): Promise<Side[]> {
  const kernel = await bootKernelClient(folder)
  undo.push(() => kernel.stop())
  const sides: Side[] = []
  if (peers) {
    const ganesha = await startGanesha(folder)
    undo.push(() => ganesha.stop())
    sides.push({ name: ganesha.name, pid: ganesha.pid!, client: kernel.of(ganesha) })
  }
  const program = await layOut(folder)
  const ours = await startOverlayd(program, folder, mode, nodeOptions, { host: HOST_ADDRESS, client: CLIENT_ADDRESS })
  undo.push(() => ours.stop())
  sides.push({ name: ours.name, pid: ours.pid!, client: kernel.of(ours) })
  return sides
}

async function startWebdav({ peers }: RealSettings, folder: string, undo: Undo): Promise<Side[]> {
  const sides: Side[] = []
  for (const name of peers ? ['apache', 'overlayd'] : ['overlayd']) {
    const layers = await layersFor(folder, `webdav-${name}`)
    let root = ''
    if (name !== 'overlayd') {
      root = await mountOverlay(folder, layers, 'webdav-root')
      undo.push(() => run('umount', [root]))
    }
    const { server, stop } = await startServer(name, { ...layers, root, own: join(folder, `own-${name}`) })
    undo.push(stop)
    sides.push({ name, pid: server.pid, client: await davfsClient(folder, server) })
  }
  return sides
}

/** All workloads, round by round, in turn on each side; another side begins each time. */
async function compareAll(settings: RealSettings, protocol: Protocol, sides: readonly Side[]): Promise<Comparison[]> {
  const workloads = chosen(settings.only)
  const samples = new Map<Workload, Sample[][]>(workloads.map((workload) => [workload, sides.map(() => [])]))
  for (let round = 0; round <= settings.rounds; round++) {
    for (const workload of workloads) {
      for (let i = 0; i < sides.length; i++) {
        const at = (i + round) % sides.length
        const sample = await measure(sides[at]!, workload, round)
        const line = { protocol, server: sides[at]!.name, workload: workload.name, round, ...sample }
        if (!settings.json)
          process.stderr.write(`${round} ${workload.name}, ${line.server}: ${sample.seconds.toFixed(2)} s\n`)
        // The first round warms both up.
        if (round === 0) continue
        samples.get(workload)![at]!.push(sample)
        if (settings.json) process.stdout.write(`${JSON.stringify(line)}\n`)
      }
    }
  }
  return workloads.map((workload) => {
    const all = samples.get(workload)!
    return { workload, peer: all.length > 1 ? all[0]! : [], ours: all.at(-1)! }
  })
}

async function measure({ pid, client }: Side, workload: Workload, round: number): Promise<Sample> {
  const before = cpuSeconds(pid)
  const seconds = await client.run(workload, round)
  return { seconds, cpuSeconds: cpuSeconds(pid) - before }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`bench:real: ${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}
