/** `npm run bench:copy-up-latency`: see `--help`. */
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { readOptions } from '../../helpers/program-options.ts'
import { copyUpLarge, DURABLE, type Latencies, makeWorld, work } from './load.ts'

const AIM_MS = 20
const REST_MS = 10_000
const GIB = 1024 ** 3
const COPIES = 2000

const values = readOptions({
  name: 'bench:copy-up-latency',
  about: `Measures how much a large copy-up delays other operations: their latencies at rest, while it runs, and while cp and sync copy the same file beside the overlay,
which shows the delay that the disk itself causes. Each client does one operation after the other with a pause of 1 ms. Fails (status 1) if the 99th percentile of
an operation grows by more than ${AIM_MS} ms; those that have to wait for the disk (a copy-up of their own, a commit) are shown, but do not count.`,
  options: {
    gib: {
      type: 'number',
      fraction: true,
      least: 0.01,
      default: 10,
      help: 'the size of the file in GiB; three times as much is needed',
    },
    on: {
      type: 'text',
      value: 'DIR',
      default: tmpdir(),
      help: 'where the layers are created, on the disk to be measured',
    },
    clients: { type: 'number', least: 1, default: 4, help: 'clients that do other operations' },
  },
})

if (process.env.UV_THREADPOOL_SIZE === undefined) {
  // As many threads as the server has.
  const env = { ...process.env, UV_THREADPOOL_SIZE: '16' }
  process.exitCode = spawnSync(process.execPath, process.argv.slice(1), { stdio: 'inherit', env }).status ?? 1
} else {
  await run(mkdtempSync(join(values.on, 'overlayd-latency-')))
}

async function run(dir: string): Promise<void> {
  try {
    const { clients } = values
    const world = await makeWorld(dir, { largeBytes: values.gib * GIB, clients, copies: COPIES })
    const atRest = await work(world, setTimeout(REST_MS))
    const start = performance.now()
    const load = readFileSync('/proc/loadavg', 'latin1').split(' ')[0]
    const meanwhile = await work(world, copyUpLarge(world))
    const seconds = (performance.now() - start) / 1000
    const besideCp = await work(world, copyPlainly(dir))
    await world.overlay.unmount()
    console.log(
      `copy-up of ${values.gib} GiB: ${seconds.toFixed(1)} s, ${clients} clients, load of the machine before ${load}`,
    )
    process.exitCode = report(atRest, meanwhile, besideCp) ? 0 : 1
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function copyPlainly(dir: string): Promise<void> {
  const copy = join(dir, 'copy')
  await promisify(execFile)('cp', ['--reflink=never', join(dir, 'lower/large'), copy])
  await promisify(execFile)('sync', [copy])
}

function report(atRest: Latencies, meanwhile: Latencies, besideCp: Latencies): boolean {
  console.log(
    row('ms', ['operations', 'rest p50', 'rest p99', 'p50', 'p99', 'max', 'delay p99', 'cp: p99', 'delay p99']),
  )
  const all = withAll(meanwhile)
  const allAtRest = withAll(atRest)
  const allBesideCp = withAll(besideCp)
  let met = true
  for (const [kind, took] of all) {
    const before = allAtRest.get(kind) ?? []
    const delay = percentile(took, 99) - percentile(before, 99)
    if (delay > AIM_MS && !DURABLE.includes(kind)) met = false
    const figures = [
      percentile(before, 50),
      percentile(before, 99),
      percentile(took, 50),
      percentile(took, 99),
      percentile(took, 100),
      delay,
      percentile(allBesideCp.get(kind) ?? [], 99),
      percentile(allBesideCp.get(kind) ?? [], 99) - percentile(before, 99),
    ]
    console.log(row(kind, [String(took.length), ...figures.map((figure) => figure.toFixed(2))]))
  }
  console.log(met ? `the 99th percentile of none grows by more than ${AIM_MS} ms` : `MISSED: more than ${AIM_MS} ms`)
  return met
}

/** With all together that do not wait for the disk. */
function withAll(latencies: Latencies): Latencies {
  const counted = [...latencies].flatMap(([kind, took]) => (DURABLE.includes(kind) ? [] : took))
  return new Map([...latencies, ['all that do not wait for the disk', counted]])
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN
}

function row(name: string, cells: readonly string[]): string {
  return name.padEnd(34) + cells.map((cell) => cell.padStart(11)).join('')
}
