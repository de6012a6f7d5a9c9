import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../../differential/random.ts'
import type { ViewKillSettings } from '../settings.ts'
import { KINDS, type Kind } from './changes.ts'
import { KillRun, type KillTask } from './kill-run.ts'
import { makeCourse } from './server.ts'

const FAILURES_SHOWN = 40
/** Between the seeds of two runs. */
const SEEDS_APART = 1000

/**
 * Kills servers with a template at each point of each change of a view, then at random moments with several changes under way, each time on what the last
 * kill has left. Returns the exit status.
 */
export async function killViews(settings: ViewKillSettings): Promise<number> {
  const started = performance.now()
  const stopAt = Date.now() + settings.seconds * 1000
  const dirs = Array.from({ length: settings.jobs }, () => mkdtempSync(join(tmpdir(), 'overlayd-crash-views-')))
  const runs = dirs.map((dir, i) => new KillRun(dir, settings.seed + i * SEEDS_APART, stopAt))
  try {
    for (const dir of dirs) makeCourse(dir)
    await Promise.all(runs.map((run) => run.start()))
    await killInTurn(runs, settings)
  } finally {
    for (const run of runs) await run.end()
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
  }
  const failures = runs.flatMap((run) => run.failures)
  for (const line of failures.slice(0, FAILURES_SHOWN)) console.log(`=> ${line}`)
  const sum = (key: 'kills' | 'unanswered' | 'random') => runs.reduce((all, run) => all + run[key], 0)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(
    `${sum('kills')} kills while views change, ${sum('unanswered')} before an answer, ${sum('random')} of all at random, ${failures.length} wrong, ${seconds} s`,
  )
  return failures.length === 0 ? 0 : 1
}

/** First counts the points of each kind of change, then kills at them, then at random. The runs share the work. */
async function killInTurn(
  runs: readonly KillRun[],
  { scenario, sample, random, seed }: ViewKillSettings,
): Promise<void> {
  const points = new Map<Kind, number>()
  const kinds = KINDS.filter((name) => name.includes(scenario))
  const counting = kinds.map((kind) => ({ kind, killAt: 0 }))
  await Promise.all(runs.map((run) => run.work(counting, (kind, count) => points.set(kind, count))))
  const draw = new Random(seed)
  const tasks: KillTask[] = []
  for (const [kind, count] of points) {
    const all = Array.from({ length: count }, (_, i) => ({ kind, killAt: i + 1, of: count }))
    while (all.length > sample) all.splice(draw.below(all.length), 1)
    tasks.push(...all)
    console.log(`${kind}: ${count} points, ${all.length} of them kill`)
  }
  await Promise.all(runs.map((run) => run.work(tasks, () => undefined)))
  let left = random
  await Promise.all(runs.map((run) => run.atRandom(() => left-- > 0)))
}
