import { readdirSync } from 'node:fs'
import { isErrno, type Overlay } from '../../overlay-core/index.ts'
import type { Injector } from './injector.ts'
import { type Known, type Picture, pictureDifferences, retainAll, takePicture } from './picture.ts'
import { Actor, type Scenario } from './scenario.ts'
import { idle, Stage } from './stage.ts'

/** What a system call may answer. */
export const ERRNOS = { EIO: 5, ENOSPC: 28, EDQUOT: 122, EMFILE: 24, EINTR: 4 } as const
type Failure = keyof typeof ERRNOS
const NAMES = Object.keys(ERRNOS) as Failure[]

/** Calls by which temporary objects are removed. */
const REMOVING = new Set(['unlinkat', 'getdents64'])

export interface FailingSettings {
  readonly scratch: string
  readonly extra: string
  /** With a number: only at so many calls of each step, with one errno each. Else at every call with every errno. */
  readonly sample: number
  readonly seed: number
  readonly stopAt: number
  readonly injector: Injector
}

/** A call that is to fail: the `count`-th of step `step`; a mount is step -1. */
interface Injection {
  readonly step: number
  readonly count: number
  readonly op: string
  readonly failure: Failure
}

/** A scenario in this process, call by call. */
interface Run {
  readonly overlay: Overlay
  readonly actor: Actor
  readonly known: readonly Known[]
}

/** Lets each system call of the scenario fail in turn. Returns how many, and what was wrong. */
export async function failEverywhere(
  scenario: Scenario,
  settings: FailingSettings,
): Promise<{ injected: number; failures: string[] }> {
  const from = Math.floor(Date.now() / 1000) - 1
  const stage = await Stage.build(settings.scratch, scenario, settings.extra)
  const { injector } = settings
  await injector.ready()
  const [states, between, calls] = await undisturbed(stage, injector)
  const failures: string[] = []
  let injected = 0
  for (const injection of injectionsOf(calls, settings)) {
    if (Date.now() > settings.stopAt) break
    injected++
    const { step, count, op, failure } = injection
    const allowed = [states[step + 1] as Picture, states[step + 2] as Picture, ...(between.get(step) ?? [])]
    for (const line of await inject(stage, injector, injection, allowed, from)) {
      failures.push(`${scenario.name}: step ${step}, call ${count} ${op} ${failure}: ${line}`)
    }
  }
  await stage.needSameLowers()
  return { injected, failures }
}

/** States before the mount (as after it), and before each step and after the last; those in between; the calls of each, the mount's first. */
async function undisturbed(stage: Stage, injector: Injector): Promise<[Picture[], Map<number, Picture[]>, string[][]]> {
  const { steps, between } = stage.scenario
  const calls: string[][] = []
  const note = () => calls.push(injector.list())
  const { known } = await prepare(stage)
  injector.watch()
  const run = await open(stage, known)
  note()
  // Looking at things changes what the next step finds in the caches: states in a run of their own.
  for (const step of steps) {
    await step(run.actor)
    note()
  }
  injector.rest()
  await run.overlay.unmount()
  const states = await statesOf(stage, steps.length)
  const inBetween = new Map<number, Picture[]>()
  for (const [at, side] of Object.entries(between ?? {})) {
    const pictures: Picture[] = []
    for (const step of side) pictures.push(await stateAfter(stage, [...steps.slice(0, Number(at)), step]))
    inBetween.set(Number(at), pictures)
  }
  return [states, inBetween, calls]
}

async function statesOf(stage: Stage, steps: number): Promise<Picture[]> {
  const states: Picture[] = []
  for (let i = 0; i <= steps; i++) states.push(await stateAfter(stage, stage.scenario.steps.slice(0, i)))
  return [states[0] as Picture, ...states]
}

async function stateAfter(stage: Stage, steps: Scenario['steps']): Promise<Picture> {
  const { known } = await prepare(stage)
  const run = await open(stage, known)
  for (const step of steps) await step(run.actor)
  await run.overlay.unmount()
  return await stage.look(known)
}

/** A fresh upper after the setup, unmounted. */
async function prepare(stage: Stage): Promise<{ known: readonly Known[] }> {
  const { scenario } = stage
  stage.fresh()
  let known: readonly Known[] = []
  if (scenario.mounts !== 'first') {
    const overlay = await stage.mount()
    await scenario.setup?.(new Actor(overlay, () => undefined))
    known = await retainAll(overlay)
    await overlay.unmount()
  }
  await scenario.prepare?.(stage.dir)
  return { known }
}

async function open(stage: Stage, known: readonly Known[]): Promise<Run> {
  const overlay = await stage.mount()
  return { overlay, actor: new Actor(overlay, () => undefined), known }
}

function injectionsOf(calls: readonly string[][], { sample, seed }: FailingSettings): Injection[] {
  const result: Injection[] = []
  for (const [i, ops] of calls.entries()) {
    // A close that fails has closed all the same, but here it would not be made.
    const counts = ops.map((op, at) => ({ op, count: at + 1 })).filter(({ op }) => op !== 'close')
    const every = sample === Number.POSITIVE_INFINITY
    const distance = every ? 1 : Math.max(1, Math.ceil(counts.length / sample))
    for (const [n, { op, count }] of counts.entries()) {
      if ((n + seed) % distance !== 0) continue
      const chosen = every ? NAMES : [NAMES[(n + seed + i) % NAMES.length] as Failure]
      for (const failure of chosen) result.push({ step: i - 1, count, op, failure })
    }
  }
  return result
}

async function inject(
  stage: Stage,
  injector: Injector,
  injection: Injection,
  allowed: readonly Picture[],
  from: number,
): Promise<string[]> {
  await idle()
  const descriptors = openDescriptors()
  const lines: string[] = []
  const { known } = await prepare(stage)
  let overlay: Overlay | undefined
  try {
    if (injection.step < 0) overlay = await failingMount(stage, injector, injection, lines)
    else overlay = await failingStep(stage, injector, injection, known, allowed, from, lines)
    await overlay?.unmount()
    await idle()
    const open = openDescriptors()
    if (open !== descriptors) lines.push(`${open - descriptors} descriptors are left open`)
    const last = await stage.look(known)
    const kept = differencesFrom(
      allowed.slice(injection.step < 0 ? 0 : 1, injection.step < 0 ? 1 : 2),
      last,
      from,
      stage,
    )
    lines.push(...kept.map((line) => `after all, and a restart: ${line}`))
  } catch (error) {
    lines.push(error instanceof Error ? `${error.stack}` : String(error))
  } finally {
    injector.rest()
    await overlay?.unmount()
  }
  // A close that fails has closed all the same, but here it was not made.
  return injector.struck(injection.op) === 'close' ? [] : lines
}

/** A mount that fails must leave nothing open and go well the next time. */
async function failingMount(stage: Stage, injector: Injector, injection: Injection, lines: string[]): Promise<Overlay> {
  injector.arm(injection.count, ERRNOS[injection.failure])
  try {
    const overlay = await stage.mount()
    injector.rest()
    return overlay
  } catch (error) {
    injector.rest()
    const right = isErrno(error, injection.failure as 'EIO') || String(error).includes(injection.failure)
    if (!right || injection.failure === 'EINTR') lines.push(`the mount fails with ${error}`)
  }
  return await stage.mount()
}

/** The step fails with just that errno and without effect, or succeeds; then it works. */
async function failingStep(
  stage: Stage,
  injector: Injector,
  injection: Injection,
  known: readonly Known[],
  allowed: readonly Picture[],
  from: number,
  lines: string[],
): Promise<Overlay> {
  const { steps } = stage.scenario
  const { overlay, actor } = await open(stage, known)
  for (const step of steps.slice(0, injection.step)) await step(actor)
  await idle()
  const step = steps[injection.step] as Scenario['steps'][number]
  let failed = false
  injector.arm(injection.count, ERRNOS[injection.failure])
  try {
    await step(actor)
  } catch (error) {
    failed = true
    if (!isErrno(error, injection.failure as 'EIO'))
      lines.push(`answers ${error instanceof Error ? error.stack : error}`)
    if (injection.failure === 'EINTR') lines.push('EINTR is seen')
  }
  injector.rest()
  const op = injector.struck(injection.op)
  await idle()
  if (await isMounted(overlay)) {
    const left = readdirSync(`${stage.dir}/work/work`)
    // What could not be removed, after a change that was made or of one that failed, is a leftover, which the next mount removes.
    if (left.length > 0 && failed && !REMOVING.has(op)) lines.push(`left in the work directory: ${left.join(', ')}`)
    // What was written or published and then cannot be made durable is there, as with the kernel.
    const unchanged = op === 'fsync' ? allowed : [allowed[0] as Picture, ...allowed.slice(2)]
    const states = failed ? unchanged : [allowed[1] as Picture]
    const seen = await takePicture(overlay, known)
    lines.push(
      ...differencesFrom(states, seen, from, stage).map((line) => `${failed ? 'failed' : 'succeeded'}: ${line}`),
    )
    if (failed) await step(actor)
  }
  return overlay
}

async function isMounted(overlay: Overlay): Promise<boolean> {
  try {
    await overlay.statfs()
    return true
  } catch {
    return false
  }
}

/** What differs from the nearest of `states`; empty when it is one of them. */
function differencesFrom(states: readonly Picture[], seen: Picture, from: number, { scenario }: Stage): string[] {
  const all = states.map((state) =>
    // A handle leads to a file as long as a name of it is known; which of them are depends on what was looked up.
    pictureDifferences(state, seen, from, scenario.tolerates).filter((line) => !line.includes('expected at "gone"')),
  )
  return all.sort((a, b) => a.length - b.length)[0]?.slice(0, 6) ?? []
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}
