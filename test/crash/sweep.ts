import { differences, type Tree } from '../differential/tree.ts'
import type { Point } from './fault-points.ts'
import { type Picture, pictureDifferences } from './picture.ts'
import { Actor, type Scenario, type Step } from './scenario.ts'
import type { Settings } from './settings.ts'
import { type Report, Stage } from './stage.ts'

/** What a sweep over one scenario found. */
export interface SweepResult {
  readonly kills: number
  readonly byKernel: number
  readonly failures: readonly string[]
}

export interface SweepSettings {
  readonly scratch: string
  readonly extra: string
  /** With a number: only at so many of the calls that change something. Else at every call, before and after. */
  readonly sample: number
  readonly seed: number
  readonly calls: Settings['calls']
  /** Every how many kills the kernel mounts the layers too, and the rest of the scenario is done. */
  readonly thoroughEvery: number
  /** Kills before these. */
  readonly killsBefore: number
  /** No further kill is started after this. */
  readonly stopAt: number
}

/** The states between steps as they should be. */
interface Expected {
  /** `after[i]`: before step i. */
  readonly after: readonly Picture[]
  readonly between: ReadonlyMap<number, readonly Picture[]>
}

/** Kills a child at each system call of the scenario in turn and looks at what is left each time. */
export async function sweep(scenario: Scenario, settings: SweepSettings): Promise<SweepResult> {
  const from = Math.floor(Date.now() / 1000) - 1
  const stage = await Stage.build(settings.scratch, scenario, settings.extra)
  const [expected, whole] = await expectedStates(stage, from)
  const failures: string[] = []
  let [kills, byKernel] = [0, 0]
  const threaded = settings.calls === 'threads' ? await finished(stage, scenario.steps, 'threads') : undefined
  for (const point of threaded ? threadPoints(threaded, settings) : pointsOf(whole, settings)) {
    if (Date.now() > settings.stopAt) break
    const report = await stage.run(scenario.steps, point)
    // The calls of two runs may differ by some that run side by side.
    if (report.ending.signal === 0 && report.error === undefined) continue
    kills++
    const thorough = (settings.killsBefore + kills) % settings.thoroughEvery === 0
    if (thorough) byKernel++
    const found = await judge(stage, report, expected, from, thorough)
    const call = point.when === 'before' ? whole.calls[point.count - 1]?.op : ''
    for (const line of found)
      failures.push(`${scenario.name}: killed ${point.when} call ${point.count} ${call}: ${line}`)
  }
  await stage.needSameLowers()
  return { kills, byKernel, failures }
}

/** Runs without kills: all states, and the calls of the whole scenario. */
async function expectedStates(stage: Stage, from: number): Promise<[Expected, Report]> {
  const { steps, between: sideSteps } = stage.scenario
  const after = [...(await finished(stage, steps, 'look')).seen]
  const whole = await finished(stage, steps, 'undisturbed')
  const last = await stage.look(whole.known)
  const lines = after.length > steps.length ? pictureDifferences(after.at(-1) as Picture, last, from) : []
  if (lines.length > 0) throw new Error(`${stage.scenario.name}: a restart changes the tree: ${lines.join('; ')}`)
  while (after.length <= steps.length) after.push(last)
  const between = new Map<number, Picture[]>()
  for (const [at, side] of Object.entries(sideSteps ?? {})) {
    const pictures: Picture[] = []
    for (const step of side) {
      const { seen } = await finished(stage, [...steps.slice(0, Number(at)), step], 'look')
      pictures.push(seen.at(-1) as Picture)
    }
    between.set(Number(at), pictures)
  }
  return [{ after, between }, whole]
}

async function finished(
  stage: Stage,
  steps: readonly Step[],
  how: 'look' | 'undisturbed' | 'threads',
): Promise<Report> {
  const report = await stage.run(steps, how)
  if (report.error !== undefined || report.ending.signal !== 0) {
    throw new Error(`${stage.scenario.name}: does not run: ${report.error ?? `signal ${report.ending.signal}`}`)
  }
  return report
}

function pointsOf({ calls, ended }: Report, { sample, seed }: SweepSettings): Point[] {
  const before = calls.map((call, i) => ({ when: 'before', count: i + 1, changing: call.changing }) as const)
  if (sample === Number.POSITIVE_INFINITY) {
    return [...before, ...Array.from({ length: ended }, (_, i) => ({ when: 'after', count: i + 1 }) as const)]
  }
  const chosen = before.filter(({ changing }) => changing)
  const step = Math.max(1, Math.ceil(chosen.length / sample))
  return chosen.filter((_, i) => (i + seed) % step === 0)
}

function threadPoints({ points }: Report, { sample, seed }: SweepSettings): Point[] {
  const all = Array.from({ length: points }, (_, i) => ({ when: 'thread', count: i + 1 }) as const)
  const step = Math.max(1, Math.ceil(points / sample))
  return all.filter((_, i) => (i + seed) % step === 0)
}

/** What is wrong with what a killed child left; empty when nothing is. */
async function judge(
  stage: Stage,
  report: Report,
  expected: Expected,
  from: number,
  thorough: boolean,
): Promise<string[]> {
  if (report.error !== undefined) return [report.error]
  if (report.ending.signal !== 9) return [`ended by signal ${report.ending.signal}`]
  const { begun, finished: done } = report
  const allowed = [expected.after[done] as Picture]
  if (begun > done) allowed.push(expected.after[done + 1] as Picture, ...(expected.between.get(done) ?? []))
  const lines: string[] = []
  try {
    const kernel = thorough ? await stage.lookByKernel() : undefined
    let state = -1
    const picture = await stage.look(report.known, async (overlay, seen) => {
      const all = allowed.map((one) => pictureDifferences(one, seen, from, stage.scenario.tolerates))
      state = all.findIndex((found) => found.length === 0)
      if (state < 0) lines.push(...all.map((found, i) => `not state ${i}: ${found.slice(0, 5).join('; ')}`))
      for (const { key, generation } of report.promised) await overlay.inodeByKey(key, generation)
      if (thorough && state >= 0 && state < 2 && lines.length === 0) {
        await goOn(stage, new Actor(overlay, () => undefined), done + state)
      }
    })
    if (kernel) lines.push(...kernelDifferences(stage, kernel, picture, from))
    lines.push(...orphans(stage, picture))
    if (thorough && state >= 0 && state < 2) lines.push(...(await lastState(stage, report, expected, from)))
  } catch (error) {
    lines.push(error instanceof Error ? `${error.stack}` : String(error))
  }
  return lines
}

function kernelDifferences({ scenario }: Stage, kernel: Tree, { tree }: Picture, from: number): string[] {
  const lines = differences(kernel, tree, { from, to: from + 100_000 })
  // Without an index overlayd shows the names of a lower hard link as objects of their own, always.
  return scenario.options === 'index=off' ? lines.filter((line) => !line.includes(': same object: ')) : lines
}

/** What was cut off can be done again, and what was to follow too. */
async function goOn(stage: Stage, actor: Actor, next: number): Promise<void> {
  for (const step of stage.scenario.steps.slice(next)) await step(actor)
}

async function lastState(stage: Stage, report: Report, expected: Expected, from: number): Promise<string[]> {
  const last = expected.after.at(-1) as Picture
  const lines = pictureDifferences(last, await stage.look(report.known), from, stage.scenario.tolerates)
  return lines.map((line) => `after the rest of the steps: ${line}`)
}

/** Index entries whose object has no name in the tree. */
export function orphans(stage: Stage, { tree }: Picture): string[] {
  const inodes = new Set<string>()
  for (const { status } of tree.values()) inodes.add(littleEndian(Number(status.fileId.split(':')[1])))
  const entries = stage.index().filter((name) => !wordsOfHandle(name).some((word) => inodes.has(word)))
  return entries.map((name) => `index entry ${name} of an object without a name`)
}

function littleEndian(word: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(word)
  return bytes.toString('hex')
}

/** The file system's handle, of which one 32-bit word is the inode number: behind the 21 bytes of `struct ovl_fb`. */
function wordsOfHandle(indexName: string): string[] {
  return indexName.slice(42).match(/.{8}/g) ?? []
}
