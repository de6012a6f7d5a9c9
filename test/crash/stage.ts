import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { isErrno, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { gateLoad, setThreadFault } from '../../overlay-core/sys/call.ts'
import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import { Fault } from '../../overlay-core/sys/thread-layout.ts'
import { KernelView } from '../differential/kernel-view.ts'
import * as native from '../differential/native.ts'
import { differences, readTree, type Tree } from '../differential/tree.ts'
import { CallCounter, NO_FAULTS, type Point, type SeenCall } from './fault-points.ts'
import { makeLowers, makeUpper } from './layers.ts'
import { type Known, type Picture, retainAll, takePicture } from './picture.ts'
import { type Ending, killSelf, startChild, waitFor } from './process.ts'
import { Actor, type Scenario, type Step } from './scenario.ts'
import { countPoints, pointsPassed, startThreads } from './threads.ts'

const MS_NOATIME_NODEV = 1024 | 4
const CHILD_LIMIT_SECONDS = 120
/** V8 is not made to be forked: once in many hundred times a child dies of that, and is started again. */
const SIGSEGV = 11
const MOST_AGAIN = 20
/** So many bytes more of garbage before each further start, so that the next fork does not find the young objects in the same state. */
const GARBAGE_BYTES = 96 * 1024
const TURNS_TO_REST = 3

/** What a child wrote down before it ended. */
export interface Report {
  readonly ending: Ending
  readonly known: readonly Known[]
  readonly promised: readonly { readonly key: number; readonly generation: number }[]
  /** Steps that were begun, and finished. */
  readonly begun: number
  readonly finished: number
  /** All calls of the disturbed part; empty when the child did not live to tell. */
  readonly calls: readonly SeenCall[]
  readonly ended: number
  /** Points that the threads have passed. */
  readonly points: number
  /** What the child saw after the mount and after each step, if it was told to look; as long as its overlay was mounted. */
  readonly seen: readonly Picture[]
  readonly error: string | undefined
}

/** The layers of one scenario in a folder: lowers that are made once, an upper for every run. */
export class Stage {
  readonly scenario: Scenario
  readonly dir: string
  readonly #lowers: readonly string[]
  readonly #extra: string
  readonly #before: readonly Tree[]

  static async build(scratch: string, scenario: Scenario, extra: string, make = makeLowers): Promise<Stage> {
    const dir = `${scratch}/stage`
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dir)
    mkdirSync(`${dir}/mount`)
    const lowers = make(dir)
    return new Stage(scenario, dir, lowers, extra, await readLowers(lowers))
  }

  private constructor(
    scenario: Scenario,
    dir: string,
    lowers: readonly string[],
    extra: string,
    before: readonly Tree[],
  ) {
    this.scenario = scenario
    this.dir = dir
    this.#lowers = lowers
    this.#extra = extra
    this.#before = before
  }

  get #layers(): string {
    return `lowerdir=${this.#lowers.join(':')},upperdir=${this.dir}/upper,workdir=${this.dir}/work`
  }

  async mount(): Promise<Overlay> {
    const options = [this.#layers, this.scenario.options, this.#extra].filter((part) => part)
    return await mount(parseOptions(options.join(',')))
  }

  /** Makes the upper and the workdir empty. */
  fresh(): void {
    for (const name of ['upper', 'work']) rmSync(`${this.dir}/${name}`, { recursive: true, force: true })
    makeUpper(this.dir)
  }

  /**
   * Runs the scenario, with `steps` in place of its own, in a child process on a fresh upper; it is killed at `point`, or says what it
   * sees after each step.
   */
  async run(steps: readonly Step[], point: Point | 'look' | 'undisturbed' | 'threads'): Promise<Report> {
    let report = await this.#runOnce(steps, point)
    for (let i = 1; i <= MOST_AGAIN && report.ending.signal === SIGSEGV; i++) {
      Array.from({ length: (i * GARBAGE_BYTES) / 16 }, () => [])
      report = await this.#runOnce(steps, point)
    }
    return report
  }

  async #runOnce(steps: readonly Step[], point: Point | 'look' | 'undisturbed' | 'threads'): Promise<Report> {
    await idle()
    this.fresh()
    rmSync(`${this.dir}/report`, { force: true })
    const fd = openSync(`${this.dir}/report`, 'ax')
    const tell = (line: object): void => {
      writeSync(fd, `${JSON.stringify(line)}\n`)
    }
    const pid = startChild(
      () => this.#child(steps, point, tell),
      (error) => tell({ error: error instanceof Error ? `${error.stack}` : String(error) }),
      CHILD_LIMIT_SECONDS,
    )
    // In the child nothing may go on from here.
    if (pid === 0) return await new Promise<never>(() => undefined)
    const ending = waitFor(pid)
    closeSync(fd)
    return readReport(`${this.dir}/report`, ending)
  }

  async #child(
    steps: readonly Step[],
    point: Point | 'look' | 'undisturbed' | 'threads',
    tell: (line: object) => void,
  ): Promise<void> {
    const { scenario } = this
    const actorOf = (overlay: Overlay) =>
      new Actor(overlay, (key, generation) => tell({ promised: { key, generation } }))
    let known: readonly Known[] = []
    let actor = scenario.mounts === 'first' ? undefined : actorOf(await this.mount())
    if (actor) {
      await scenario.setup?.(actor)
      known = await retainAll(actor.overlay)
      tell({ known })
    }
    if (scenario.mounts) {
      await actor?.overlay.unmount()
      await scenario.prepare?.(this.dir)
    }
    const counter = new CallCounter(typeof point === 'string' ? undefined : point, () => {
      killSelf()
      return 0
    })
    const threaded = point === 'threads' || (typeof point !== 'string' && point.when === 'thread')
    if (threaded) await startThreads()
    else setFaultPoints(counter)
    if (point === 'threads') countPoints()
    else if (threaded) setThreadFault((point as Point).count, Fault.kill)
    if (scenario.mounts) actor = actorOf(await this.mount())
    const look = point === 'look' ? () => tellPicture(actor as Actor, known, tell) : () => undefined
    await look()
    for (const step of steps) {
      tell({ begun: true })
      await step(actor as Actor)
      // As a protocol does before it answers.
      await actor?.overlay.retained()
      tell({ finished: true })
      await look()
    }
    setFaultPoints(NO_FAULTS)
    if (point === 'threads') tell({ points: pointsPassed() })
    tell({ calls: counter.seen, ended: counter.ended })
  }

  /** Mounts what is there with the core and looks at it. @throws Error what must not be after a mount */
  async look(known: readonly Known[], then?: (overlay: Overlay, picture: Picture) => Promise<void>): Promise<Picture> {
    const overlay = await this.mount()
    try {
      const picture = await takePicture(overlay, known)
      const left = readdirSync(`${this.dir}/work/work`).filter((name) => name !== 'incompat')
      if (left.length > 0) throw new Error(`left in the work directory after a mount: ${left.join(', ')}`)
      await then?.(overlay, picture)
      return picture
    } finally {
      await overlay.unmount()
    }
  }

  /** Mounts what is there with the kernel and reads the tree. */
  async lookByKernel(): Promise<Tree> {
    // Of two the kernel takes the later.
    const given = [this.scenario.options, this.#extra].filter((part) => part).map((part) => `,${part}`)
    const data = `${this.#layers},redirect_dir=on,xino=on,index=on${given.join('')}`
    native.mount('overlay', `${this.dir}/mount`, 'overlay', MS_NOATIME_NODEV, data)
    const view = new KernelView(`${this.dir}/mount`)
    try {
      return await readTree(view)
    } finally {
      view.close()
      native.umount(`${this.dir}/mount`)
    }
  }

  /** Names in the index directory. */
  index(): string[] {
    try {
      return readdirSync(`${this.dir}/work/index`)
    } catch {
      return []
    }
  }

  /** @throws Error a lower is not what it was */
  async needSameLowers(): Promise<void> {
    const after = await readLowers(this.#lowers)
    for (const [i, before] of this.#before.entries()) {
      const lines = differences(before, after[i] as Tree, { from: 1, to: 0 }, { names: ['before', 'after'] })
      if (lines.length > 0) throw new Error(`lower ${i} has changed: ${lines.join('; ')}`)
    }
  }
}

async function tellPicture({ overlay }: Actor, known: readonly Known[], tell: (line: object) => void): Promise<void> {
  try {
    await overlay.statfs()
  } catch (error) {
    if (isErrno(error, 'ESTALE')) return
    throw error
  }
  const { tree, places } = await takePicture(overlay, known)
  tell({ seen: { tree: [...tree], places: [...places] } })
}

/**
 * Waits until no system call is under way, as after a fork nobody would be told of its end; and until the loop has taken note of all that have
 * ended: parent and child share what wakes it, and a wake-up that the child takes would be missing in the parent for ever.
 */
export async function idle(): Promise<void> {
  do await setImmediate()
  while (gateLoad().inFlight > 0)
  for (let turn = 0; turn < TURNS_TO_REST; turn++) await setImmediate()
}

async function readLowers(lowers: readonly string[]): Promise<Tree[]> {
  const trees: Tree[] = []
  for (const lower of lowers) {
    const view = new KernelView(lower)
    trees.push(await readTree(view))
    view.close()
  }
  return trees
}

function readReport(path: string, ending: Ending): Report {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
  const parts = lines.map((line) => JSON.parse(line))
  const last = Object.assign({}, ...parts)
  return {
    ending,
    known: last.known ?? [],
    promised: parts.filter((part) => part.promised).map((part) => part.promised),
    begun: parts.filter((part) => part.begun).length,
    finished: parts.filter((part) => part.finished).length,
    calls: last.calls ?? [],
    ended: last.ended ?? 0,
    points: last.points ?? 0,
    seen: parts
      .filter((part) => part.seen)
      .map(({ seen }) => ({ tree: new Map(seen.tree), places: new Map(seen.places) })),
    error: last.error,
  }
}
