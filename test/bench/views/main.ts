/** `npm run bench:views`: see `--help`. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measureDoors } from './doors.ts'
import { descriptorsAllowed, descriptorsOutside, type Held, held, timeEach } from './measure.ts'
import { Report } from './report.ts'
import { HELP, readSettings, type Settings } from './settings.ts'
import { makeTree } from './tree.ts'
import { Views } from './views.ts'

/** Names that each view looks up. */
const NAMES = 10
/** Views that walk the whole lower. */
const WALKERS = 3
/** Views that are made, used and opened again before anything is measured. */
const WARM_UP_VIEWS = 300
/** Views that are opened to see what each further one takes, when the process has grown to what many of them need together. */
const FURTHER = 500

// As the server does.
process.env.UV_THREADPOOL_SIZE = '16'
try {
  const settings = readSettings(process.argv.slice(2))
  if (settings.help) process.stdout.write(HELP)
  else process.exitCode = await run(settings)
} catch (error) {
  console.error(`bench:views: ${(error as Error).message}\nTry npm run bench:views -- --help`)
  process.exitCode = 2
}

async function run({ views, files, on, part, bars }: Settings): Promise<number> {
  const scratch = mkdtempSync(join(on ?? tmpdir(), 'overlayd-bench-views-'))
  const report = new Report()
  try {
    const lower = join(scratch, 'lower')
    const paths = makeTree(lower, files)
    if (part !== 'doors') await warmUp(join(scratch, 'warm-up'), lower, paths)
    for (const count of views) {
      const dir = join(scratch, `${count}-views`)
      mkdirSync(dir)
      if (part !== 'doors') await round(report, await Views.over(lower, dir), count, paths)
      if (part !== 'core') await measureDoors(report, join(dir, 'server'), { lower, count, paths })
      rmSync(dir, { recursive: true })
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  console.log(`\n${report.missed} bars missed`)
  return bars && report.missed > 0 ? 1 : 0
}

/** Brings the process to where a server is: its code compiled, its threads started. */
async function warmUp(dir: string, lower: string, paths: readonly string[]): Promise<void> {
  mkdirSync(dir)
  const views = await Views.over(lower, dir)
  for (let i = 0; i < WARM_UP_VIEWS; i++) {
    await views.make(i)
    await views.use(i, pathsOf(i, paths))
    await views.close(i)
    await views.open(i)
  }
  await views.closeAll()
}

async function round(report: Report, views: Views, count: number, paths: readonly string[]): Promise<void> {
  report.heading(`${count} views over ${paths.length} files`)
  try {
    const nothing = await held()
    report.times('make and open', await timeEach(count, (i) => views.make(i)), { medianMs: 3, p99Ms: 20 })
    const idle = await held()
    report.memory('idle', nothing, idle, count, { heapKiB: 20 })
    await furtherViews(report, views, count, idle)
    const work = (i: number) => views.use(i, pathsOf(i, paths))
    report.times(`${NAMES} names and a change`, await timeEach(count, work))
    const inUse = await held()
    report.memory('in use', nothing, inUse, count)
    report.figure('in use: descriptors in all', inUse.descriptors, '', descriptorsAllowed())
    report.times('close', await timeEach(count, (i) => views.close(i)))
    report.memory('closed', nothing, await held(), count, { heapKiB: 1 })
    report.times('reopen', await timeEach(count, (i) => views.open(i)), { medianMs: 2 })
    // Memory that earlier steps used stays resident.
    report.memory('reopened', nothing, await held(), count, { heapKiB: 20 })
    await walks(report, views)
  } finally {
    await views.closeAll()
  }
}

/** Earlier views left memory to the first ones, so the next ones show what a view takes. */
async function furtherViews(report: Report, views: Views, count: number, before: Held): Promise<void> {
  for (let i = count; i < count + FURTHER; i++) await views.make(i)
  const after = await held()
  report.figure('idle: resident for each further view', (after.resident - before.resident) / FURTHER / 1024, 'KiB', 30)
  for (let i = count; i < count + FURTHER; i++) await views.close(i)
}

async function walks(report: Report, views: Views): Promise<void> {
  let before = await held()
  let open = descriptorsOutside(views.dir)
  for (let i = 0; i < WALKERS; i++) {
    const start = performance.now()
    const names = await views.walk(i)
    const seconds = (performance.now() - start) / 1000
    const after = await held()
    const which = i === 0 ? 'the first walk' : `walk ${i + 1}`
    report.figure(`${which}, ${names} names`, seconds, 's')
    report.figure(`${which}: heap per name`, (after.heap - before.heap) / names, 'bytes', i === 0 ? undefined : 400)
    const now = descriptorsOutside(views.dir)
    report.figure(`${which}: descriptors of the lower`, now - open, '', i === 0 ? undefined : 1)
    before = after
    open = now
  }
}

/** The files that view `i` uses: in few directories, different ones for each view. */
function pathsOf(i: number, paths: readonly string[]): string[] {
  return Array.from({ length: NAMES }, (_, n) => paths[(i * 37 + n * 3) % paths.length] as string)
}
