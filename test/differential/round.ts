import { rmSync } from 'node:fs'
import { type Cred, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { CoreView } from './core-view.ts'
import { explained } from './deviations.ts'
import { generate } from './generate.ts'
import { KernelView } from './kernel-view.ts'
import { type LayerStack, makeLayers } from './layers.ts'
import { ListingJudge } from './listing-judge.ts'
import { Model } from './model.ts'
import * as native from './native.ts'
import { closeSlots, execute, NOT_COMPARED, type Operation, type Slots } from './operations.ts'
import { Random } from './random.ts'
import { coreMountString, mountString, type Settings } from './settings.ts'
import { type Allowed, type ClockWindow, differences, readTree, type Tree } from './tree.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
const MS_NOATIME_NODEV = 1024 | 4
/** Operations between two comparisons of the whole trees. */
const COMPARE_EVERY = 30

/** Where the two sides came apart. */
export interface Divergence {
  /** The operations up to and including the one that shows it. */
  readonly operations: readonly Operation[]
  readonly difference: readonly string[]
}

/** What a finished round did. */
export interface Outcome {
  readonly divergence: Divergence | undefined
  readonly done: number
  readonly succeeded: number
}

/**
 * One round: fresh layers, then operations on a kernel overlay and on overlay-core, each with an upper of its own over the same lowers.
 * With `operations` those are repeated, else they are drawn. Everything depends on `seed` only.
 */
export async function runRound(
  scratch: string,
  settings: Settings,
  seed: number,
  operations?: readonly Operation[],
): Promise<Outcome> {
  const dir = `${scratch}/round`
  native.mkdir(dir, 0o755)
  const round = new Round(dir, settings, seed)
  try {
    await round.start()
    return await round.run(operations)
  } finally {
    await round.end()
    rmSync(dir, { recursive: true })
  }
}

/** Thrown inside a round when the sides differ. */
class Difference extends Error {
  readonly lines: readonly string[]
  constructor(lines: readonly string[]) {
    super(lines.join('\n'))
    this.lines = lines
  }
}

class Round {
  readonly #dir: string
  readonly #settings: Settings
  readonly #layerRandom: Random
  readonly #operationRandom: Random
  readonly #environment: { dentryLimit: number; listingLimit: number; fileLimit: number }
  readonly #model = new Model()
  readonly #kernelSlots: Slots = { handles: new Map(), streams: new Map() }
  readonly #coreSlots: Slots = { handles: new Map(), streams: new Map() }
  readonly #judge = new ListingJudge()
  readonly #startedAt = Math.floor(Date.now() / 1000) - 1
  #layers: LayerStack | undefined
  #lowersBefore: readonly Tree[] = []
  #allowed: Allowed = {}
  #kernel: KernelView | undefined
  #overlay: Overlay | undefined
  #core: CoreView | undefined
  /** Which of the two uppers the kernel has now. */
  #kernelUpper = 0
  #ownMounted = false
  #liveRemounts = 0
  /** The rest of operations that belong together. */
  readonly #planned: Operation[] = []

  constructor(dir: string, settings: Settings, seed: number) {
    const random = new Random(seed)
    this.#dir = dir
    this.#settings = settings
    this.#layerRandom = random.fork()
    this.#operationRandom = random.fork()
    // Caches so small that most things are forgotten and found again, in every second round.
    const small = random.chance(50)
    this.#environment = {
      dentryLimit: small ? 5 : 10_000,
      listingLimit: small ? 20 : 100_000,
      fileLimit: small ? 2 : 100,
    }
  }

  async start(): Promise<void> {
    this.#layers = await makeLayers(this.#layerRandom, this.#dir, this.#settings)
    native.mkdir(`${this.#dir}/mount`, 0o755)
    if (this.#settings.upperOn === 'ramfs') this.#mountOwn()
    for (const i of [0, 1]) {
      const [upper, work] = this.#place(i)
      native.mkdir(work, 0o755)
      // What a ramfs cannot hold the other upper has not either.
      if (this.#settings.upperOn === 'layers') this.#layers.fillUpper(upper)
      else native.mkdir(upper, 0o755)
    }
    this.#lowersBefore = await this.#readLowers()
    const lowerIds = this.#lowersBefore.flatMap((tree) => [...tree.values()].map(({ status }) => status.fileId))
    const { index, metacopy } = this.#settings.mount
    this.#allowed = {
      separated: new Set(index === 'off' ? lowerIds : []),
      completion: metacopy === 'on' || this.#settings.upperOn === 'ramfs',
    }
    await this.#mount()
  }

  async run(given: readonly Operation[] | undefined): Promise<Outcome> {
    const done: Operation[] = []
    let succeeded = 0
    try {
      await this.#compareTrees()
      const count = given?.length ?? this.#settings.operations
      for (let i = 0; i < count; i++) {
        const operation = given?.[i] ?? this.#next(i)
        done.push(operation)
        if (await this.#step(operation)) succeeded++
      }
      const last = await this.#compareTrees()
      await (this.#swaps ? this.#swap(last) : this.#remount(last))
      await this.#compareLowers()
    } catch (error) {
      // What no operation should ever throw is a difference too.
      const difference =
        error instanceof Difference ? error.lines : [error instanceof Error ? `${error.stack}` : `${error}`]
      return { divergence: { operations: done, difference }, done: done.length, succeeded }
    }
    return { divergence: undefined, done: done.length, succeeded }
  }

  async end(): Promise<void> {
    await this.#unmount()
    if (this.#ownMounted) native.umount(`${this.#dir}/own`)
  }

  #mountOwn(): void {
    native.mkdir(`${this.#dir}/own`, 0o755)
    native.mount('ramfs', `${this.#dir}/own`, 'ramfs', MS_NOATIME_NODEV - 4, 'mode=755')
    this.#ownMounted = true
  }

  /** Upper and workdir of one of the two. */
  #place(i: number): readonly [upper: string, work: string] {
    const dir = this.#settings.upperOn === 'ramfs' && i === 1 ? `${this.#dir}/own` : this.#dir
    return [`${dir}/upper${i}`, `${dir}/work${i}`]
  }

  /** Whether the kernel can read overlayd's upper. */
  get #swaps(): boolean {
    return this.#settings.upperOn === 'layers' && this.#settings.mount.whiteouts === 'device'
  }

  #next(i: number): Operation {
    if (i % COMPARE_EVERY === COMPARE_EVERY - 1) return { user: false, op: 'compare' }
    if (this.#planned.length === 0) {
      const { user, upperOn } = this.#settings
      const setting = { user, mounts: true, xattrs: upperOn === 'layers' }
      this.#planned.push(...generate(this.#operationRandom, this.#model, setting))
    }
    return this.#planned.shift() as Operation
  }

  /** Does one operation on both sides; whether it succeeded. */
  async #step(operation: Operation): Promise<boolean> {
    if (operation.op === 'compare') return (await this.#compareTrees()) !== undefined
    if (operation.op === 'remount' || operation.op === 'swap') {
      const before = await this.#compareTrees()
      if (operation.op === 'swap' && this.#swaps) await this.#swap(before)
      else await this.#remount(before)
      return true
    }
    if (operation.op === 'liveRemount') {
      await this.#liveRemount()
      return true
    }
    const cred = operation.user ? (this.#settings.user ?? ROOT) : ROOT
    const kernel = await execute(this.#kernel as KernelView, this.#kernelSlots, cred, operation)
    if (kernel === NOT_COMPARED) return false
    const core = await execute(this.#core as CoreView, this.#coreSlots, cred, operation)
    if (kernel !== core && !explained(operation, kernel, core)) {
      throw new Difference([`kernel ${kernel}`, `overlayd ${core}`])
    }
    const failed = /^E[A-Z0-9]+/.test(kernel)
    if (operation.op === 'rename' && kernel === 'ENOTEMPTY' && this.#settings.on === 'disk')
      this.#allowed = { ...this.#allowed, begunRenames: true }
    if (!failed) this.#model.apply(operation)
    await this.#judgeListing(operation, failed)
    return !failed
  }

  async #judgeListing(operation: Operation, failed: boolean): Promise<void> {
    const lines = await this.#judge.see(operation, failed, this.#coreSlots, this.#kernel as KernelView)
    if (lines.length > 0) throw new Difference(lines)
  }

  /** Compares both trees and gives back the kernel's. */
  async #compareTrees(): Promise<Tree> {
    const [kernel, core] = await this.#readBoth()
    const lines = differences(kernel, core, this.#clock(), this.#allowed)
    if (lines.length > 0) throw new Difference(lines)
    this.#model.reset(kernel)
    return kernel
  }

  async #readBoth(): Promise<[Tree, Tree]> {
    return [await readTree(this.#kernel as KernelView), await readTree(this.#core as CoreView)]
  }

  #clock(): ClockWindow {
    return { from: this.#startedAt, to: Math.floor(Date.now() / 1000) + 1 }
  }

  /** Both must still show what they showed before. */
  async #remount(
    before: Tree,
    after: readonly [string, string] = ['the kernel remounted', 'overlayd remounted'],
  ): Promise<void> {
    await this.#unmount()
    await this.#mount()
    const [kernel, core] = await this.#readBoth()
    const lines = [
      ...differences(before, kernel, this.#clock(), { ...this.#allowed, names: ['before', after[0]] }),
      ...differences(before, core, this.#clock(), { ...this.#allowed, names: ['before', after[1]] }),
    ]
    if (lines.length > 0) throw new Difference(lines)
    this.#model.reset(kernel)
  }

  /**
   * Only of overlayd, with everything open that is open: nothing of it may be lost, and nothing remembered of the stack before may show. Every other
   * time the layers but one go and come again; what is open there ends with them.
   */
  async #liveRemount(): Promise<void> {
    const { lowers } = this.#layers as LayerStack
    if (++this.#liveRemounts % 2 === 0 && lowers.length > 1) {
      this.#closeAll()
      await this.#overlay?.remount(parseOptions(this.#ownOptions([lowers[0] as string])))
    }
    await this.#overlay?.remount(parseOptions(this.#ownOptions(lowers)))
  }

  /** Gives each side what the other has written; all four views must be the same. */
  async #swap(before: Tree): Promise<void> {
    this.#kernelUpper = 1 - this.#kernelUpper
    await this.#remount(before, ["the kernel with overlayd's upper", "overlayd with the kernel's upper"])
  }

  async #mount(): Promise<void> {
    const { lowers } = this.#layers as LayerStack
    const { mount: options } = this.#settings
    const point = `${this.#dir}/mount`
    native.mount(
      'overlay',
      point,
      'overlay',
      MS_NOATIME_NODEV,
      mountString(options, lowers, ...this.#place(this.#kernelUpper)),
    )
    this.#kernel = new KernelView(point, options.userxattr)
    this.#overlay = await mount(parseOptions(this.#ownOptions(lowers)), this.#environment)
    this.#core = new CoreView(this.#overlay)
  }

  #ownOptions(lowers: readonly string[]): string {
    return coreMountString(this.#settings.mount, lowers, ...this.#place(1 - this.#kernelUpper))
  }

  #closeAll(): void {
    this.#judge.forget()
    closeSlots(this.#kernelSlots)
    closeSlots(this.#coreSlots)
  }

  async #unmount(): Promise<void> {
    this.#closeAll()
    if (this.#kernel) {
      this.#kernel.close()
      this.#kernel = undefined
      native.umount(`${this.#dir}/mount`)
    }
    await this.#overlay?.unmount()
    this.#overlay = undefined
  }

  async #readLowers(): Promise<readonly Tree[]> {
    const trees: Tree[] = []
    for (const lower of (this.#layers as LayerStack).lowers) {
      const view = new KernelView(lower)
      trees.push(await readTree(view))
      view.close()
    }
    return trees
  }

  async #compareLowers(): Promise<void> {
    const after = await this.#readLowers()
    for (const [i, before] of this.#lowersBefore.entries()) {
      const lines = differences(before, after[i] as Tree, { from: 1, to: 0 })
      if (lines.length > 0)
        throw new Difference([`lower ${i} has changed (kernel: before, overlayd: after):`, ...lines])
    }
  }
}
