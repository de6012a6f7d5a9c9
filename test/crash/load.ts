import { closeSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { Random } from '../differential/random.ts'
import { differences } from '../differential/tree.ts'
import {
  type Change,
  changed,
  contentOf,
  drawChange,
  type Model,
  make,
  type Node,
  textOf,
  textOfTree,
} from './load-model.ts'
import type { Picture } from './picture.ts'
import { hasEnded, killChild, sleepBlocking, startChild, waitFor } from './process.ts'
import { Actor } from './scenario.ts'
import { idle, Stage } from './stage.ts'
import { orphans } from './sweep.ts'
import { startThreads } from './threads.ts'

const WRITERS = ['w0', 'w1', 'w2', 'w3']
/** An upper goes through so many kills, one after the other. */
const KILLS_OF_ONE_UPPER = 12
const LONGEST_MS = 300
const CHILD_LIMIT_SECONDS = 60
const KERNEL_EVERY = 4
const SIGKILL = 9

export interface LoadSettings {
  readonly scratch: string
  readonly extra: string
  readonly kills: number
  readonly seed: number
  readonly stopAt: number
}

export interface LoadResult {
  readonly kills: number
  readonly byKernel: number
  /** Changes that were complete when the kill came. */
  readonly changes: number
  readonly failures: readonly string[]
}

/**
 * Kills a process with writers at work, at random moments, again and again on the same upper. Each writer has a directory of its own and does
 * one change after the other, so that it is known what must be there: all changes that were answered, and the next one whole or not at all.
 */
export async function killUnderLoad({ scratch, extra, kills, seed, stopAt }: LoadSettings): Promise<LoadResult> {
  const random = new Random(seed)
  const failures: string[] = []
  let [done, byKernel, changes, lost] = [0, 0, 0, 0]
  while (done < kills && lost <= kills && Date.now() < stopAt && failures.length === 0) {
    const stage = await Stage.build(scratch, { name: 'load', steps: [] }, extra, makeLowers)
    stage.fresh()
    let models: readonly Model[] = WRITERS.map((root) => firstModel(root))
    for (let i = 0; i < KILLS_OF_ONE_UPPER && done < kills && failures.length === 0; i++) {
      const seeds = WRITERS.map(() => random.below(2 ** 32))
      const counts = await disturb(stage, models, seeds, random.below(LONGEST_MS * 10) / 10)
      if (counts === undefined) {
        lost++
        continue
      }
      done++
      changes += counts.reduce((sum, { finished }) => sum + finished, 0)
      const kernel = done % KERNEL_EVERY === 0
      if (kernel) byKernel++
      const found = await judge(stage, models, seeds, counts, kernel)
      failures.push(...found.lines.map((line) => `load, seed ${seed}, kill ${done}: ${line}`))
      models = found.models
    }
    await stage.needSameLowers()
  }
  return { kills: done, byKernel, changes, failures }
}

/** The layers: each writer has files, hard links and directories in the lower, some of them merged. */
function makeLowers(dir: string): string[] {
  const layers = [`${dir}/lower0`, `${dir}/lower1`]
  for (const [i, layer] of layers.entries()) {
    mkdirSync(layer)
    for (const root of WRITERS) {
      for (const path of [root, `${root}/sub`, `${root}/only${i}`]) mkdirSync(`${layer}/${path}`, { mode: 0o755 })
      for (const [n, path] of lowerFiles(root, i).entries()) {
        writeFileSync(`${layer}/${path}`, contentOf(10 * i + n), { mode: 0o644 })
      }
      linkSync(`${layer}/${root}/f${i}`, `${layer}/${root}/sub/link${i}`)
    }
  }
  return layers
}

function lowerFiles(root: string, layer: number): string[] {
  return [`${root}/f${layer}`, `${root}/sub/s${layer}`, `${root}/only${layer}/o`]
}

function firstModel(root: string): Model {
  const directory = (): Node => ({ directory: true, mode: 0o755, content: '' })
  const model = new Map<string, Node>()
  for (const path of [root, `${root}/sub`, `${root}/only0`, `${root}/only1`]) model.set(path, directory())
  for (const i of [0, 1]) {
    for (const [n, path] of lowerFiles(root, i).entries()) {
      model.set(path, { directory: false, mode: 0o644, content: contentOf(10 * i + n) })
    }
    model.set(`${root}/sub/link${i}`, model.get(`${root}/f${i}`) as Node)
  }
  return model
}

/** How many changes a writer began and finished. */
interface Count {
  readonly begun: number
  readonly finished: number
}

/** Lets the writers work in a child and kills that `afterMs` from when they began; undefined when it had died before (V8 is not made to be forked). */
async function disturb(
  stage: Stage,
  models: readonly Model[],
  seeds: readonly number[],
  afterMs: number,
): Promise<readonly Count[] | undefined> {
  await idle()
  const report = `${stage.dir}/report`
  rmSync(report, { force: true })
  const fd = openSync(report, 'ax')
  const pid = startChild(
    () => write(stage, models, seeds, fd),
    (error) => writeSync(fd, `! ${error instanceof Error ? error.stack : error}\n`),
    CHILD_LIMIT_SECONDS,
  )
  // In the child nothing may go on from here.
  if (pid === 0) return await new Promise<never>(() => undefined)
  while (!readFileSync(report, 'latin1').includes('\n') && !hasEnded(pid)) sleepBlocking(1)
  sleepBlocking(afterMs)
  killChild(pid)
  const { signal } = waitFor(pid)
  closeSync(fd)
  const text = readFileSync(report, 'latin1')
  const failure = text.indexOf('!')
  if (failure >= 0) throw new Error(`a writer failed: ${text.slice(failure)}`)
  if (signal !== SIGKILL) return undefined
  return models.map((_, i) => ({ begun: text.split(`b${i}\n`).length - 1, finished: text.split(`f${i}\n`).length - 1 }))
}

/** The child: all writers, until the end. */
async function write(stage: Stage, models: readonly Model[], seeds: readonly number[], fd: number): Promise<void> {
  const overlay = await stage.mount()
  await startThreads()
  const actor = new Actor(overlay, () => undefined)
  writeSync(fd, 'ready\n')
  const writer = async (index: number): Promise<void> => {
    const changes = changesOf(models[index] as Model, seeds[index] as number, WRITERS[index] as string)
    for (;;) {
      const { change } = changes.next().value
      writeSync(fd, `b${index}\n`)
      await make(actor, change)
      writeSync(fd, `f${index}\n`)
    }
  }
  await Promise.all(WRITERS.map((_, i) => writer(i)))
}

/** What a writer does from a state on, and the state after each change; without end, and the same in both processes. */
function* changesOf(model: Model, seed: number, root: string): Generator<{ change: Change; after: Model }, never> {
  const random = new Random(seed)
  let present = model
  for (;;) {
    const change = drawChange(random, present, root)
    present = changed(present, change)
    yield { change, after: present }
  }
}

/** Mounts what is left, by the kernel too, and compares; returns the states that were found. */
async function judge(
  stage: Stage,
  models: readonly Model[],
  seeds: readonly number[],
  counts: readonly Count[],
  kernel: boolean,
): Promise<{ lines: string[]; models: readonly Model[] }> {
  const lines: string[] = []
  try {
    const tree = kernel ? await stage.lookByKernel() : undefined
    const picture = await stage.look([])
    const found = models.map((model, i) =>
      stateFound(
        picture,
        WRITERS[i] as string,
        allowed(model, seeds[i] as number, counts[i] as Count, WRITERS[i] as string),
        lines,
      ),
    )
    lines.push(...orphans(stage, picture))
    if (tree) lines.push(...differences(tree, picture.tree, { from: 0, to: 0 }).map((line) => `kernel: ${line}`))
    return { lines, models: found }
  } catch (error) {
    return { lines: [error instanceof Error ? `${error.stack}` : String(error)], models }
  }
}

/** The state after all changes that were finished; and after the one that was begun, with what it was. */
function allowed(
  model: Model,
  seed: number,
  { begun, finished }: Count,
  root: string,
): { states: Model[]; last: string } {
  const changes = changesOf(model, seed, root)
  let present = model
  for (let i = 0; i < finished; i++) present = changes.next().value.after
  if (begun === finished) return { states: [present], last: 'nothing' }
  const { change, after } = changes.next().value
  return { states: [present, after], last: JSON.stringify(change) }
}

function stateFound(
  { tree }: Picture,
  root: string,
  { states, last }: ReturnType<typeof allowed>,
  lines: string[],
): Model {
  const seen = textOfTree(tree, root)
  const match = states.find((state) => textOf(state).join('\n') === seen.join('\n'))
  if (match) return match
  const [before] = states as [Model]
  const expected = new Set(textOf(before))
  const extra = seen.filter((line) => !expected.has(line))
  const missing = [...expected].filter((line) => !seen.includes(line))
  lines.push(
    `${root}, cut off in ${last}: unexpected: ${extra.slice(0, 4).join('; ')}; missing: ${missing.slice(0, 4).join('; ')}`,
  )
  return before
}
