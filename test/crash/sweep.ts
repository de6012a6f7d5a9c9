import { differences } from '../differential/tree.ts'
import type { Point } from './fault-points.ts'
import { type Picture, pictureDifferences } from './picture.ts'
import { Actor, type Scenario, type Step } from './scenario.ts'
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
  /** At every call, before and after; else before and after those only that change something. */
  readonly everyCall: boolean
  /** Every how many kills the kernel mounts the layers too, and the rest of the scenario is done. */
  readonly thoroughEvery: number
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
  const [expected, whole] = await expectedStates(stage)
  const failures: string[] = []
  let [kills, byKernel] = [0, 0]
  for (const point of pointsOf(whole, settings.everyCall)) {
    if (Date.now() > settings.stopAt) break
    const report = await stage.run(scenario.steps, point)
    // The calls of two runs may differ by some that run side by side.
    if (report.ending.signal === 0 && report.error === undefined) continue
    kills++
    const thorough = kills % settings.thoroughEvery === 0
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
async function expectedStates(stage: Stage): Promise<[Expected, Report]> {
  const { steps, between: sideSteps } = stage.scenario
  const after: Picture[] = []
  const between = new Map<number, Picture[]>()
  let whole: Report | undefined
  for (let i = 0; i <= steps.length; i++) {
    whole = await finished(stage, steps.slice(0, i))
    after.push(await stage.look(whole.known))
    for (const step of sideSteps?.[i] ?? []) {
      const { known } = await finished(stage, [...steps.slice(0, i), step])
      between.set(i, [...(between.get(i) ?? []), await stage.look(known)])
    }
  }
  return [{ after, between }, whole as Report]
}

async function finished(stage: Stage, steps: readonly Step[]): Promise<Report> {
  const report = await stage.run(steps)
  if (report.error !== undefined || report.ending.signal !== 0) {
    throw new Error(`${stage.scenario.name}: does not run: ${report.error ?? `signal ${report.ending.signal}`}`)
  }
  return report
}

function pointsOf({ calls, ended }: Report, everyCall: boolean): Point[] {
  const points: Point[] = []
  for (let i = 0; i < calls.length; i++) {
    if (everyCall || calls[i]?.changing) points.push({ when: 'before', count: i + 1 })
  }
  for (let i = 1; i <= ended; i++) if (everyCall || i === ended) points.push({ when: 'after', count: i })
  return points
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
      const all = allowed.map((one) => pictureDifferences(one, seen, from))
      state = all.findIndex((found) => found.length === 0)
      if (state < 0) lines.push(...all.map((found, i) => `not state ${i}: ${found.slice(0, 5).join('; ')}`))
      for (const { key, generation } of report.promised) await overlay.inodeByKey(key, generation)
      if (thorough && state >= 0 && state < 2 && lines.length === 0) {
        await goOn(stage, new Actor(overlay, () => undefined), done + state)
      }
    })
    if (kernel) lines.push(...differences(kernel, picture.tree, { from, to: from + 100_000 }))
    lines.push(...orphans(stage, picture))
    if (thorough && state >= 0 && state < 2) lines.push(...(await lastState(stage, report, expected, from)))
  } catch (error) {
    lines.push(error instanceof Error ? `${error.stack}` : String(error))
  }
  return lines
}

/** What was cut off can be done again, and what was to follow too. */
async function goOn(stage: Stage, actor: Actor, next: number): Promise<void> {
  for (const step of stage.scenario.steps.slice(next)) await step(actor)
}

async function lastState(stage: Stage, report: Report, expected: Expected, from: number): Promise<string[]> {
  const last = expected.after.at(-1) as Picture
  const lines = pictureDifferences(last, await stage.look(report.known), from)
  return lines.map((line) => `after the rest of the steps: ${line}`)
}

/** Index entries whose object has no name in the tree. */
function orphans(stage: Stage, { tree }: Picture): string[] {
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
