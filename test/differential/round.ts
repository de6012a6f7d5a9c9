import { rmSync } from 'node:fs'
import { openStack, parseOptions, type Stack } from '../../overlay-core/index.ts'
import { KernelView } from './kernel-view.ts'
import { type LayerStack, makeLayers } from './layers.ts'
import * as native from './native.ts'
import type { Operation } from './operations.ts'
import { Difference, Pair } from './pair.ts'
import { Random } from './random.ts'
import type { Settings } from './settings.ts'
import { differences, readTree, type Tree } from './tree.ts'

/** With several views, how often in a hundred operations one of them is closed and opened again. */
const REOPENED = 2

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
 * One round: fresh layers, then operations on a kernel overlay and on overlay-core, each with an upper of its own over the same lowers. With several views
 * there are as many of both, those of overlay-core share one stack, and each operation is done in one of them.
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

class Round {
  readonly #dir: string
  readonly #settings: Settings
  readonly #layerRandom: Random
  readonly #operationRandoms: readonly Random[]
  readonly #viewRandom: Random
  readonly #limits: { dentryLimit: number; listingLimit: number; fileLimit: number }
  readonly #pairs: Pair[] = []
  #layers: LayerStack | undefined
  #lowersBefore: readonly Tree[] = []
  #stack: Stack | undefined

  constructor(dir: string, settings: Settings, seed: number) {
    const random = new Random(seed)
    this.#dir = dir
    this.#settings = settings
    this.#layerRandom = random.fork()
    const first = random.fork()
    // Caches so small that most things are forgotten and found again, in every second round.
    const small = random.chance(50)
    this.#limits = {
      dentryLimit: small ? 5 : 10_000,
      listingLimit: small ? 20 : 100_000,
      fileLimit: small ? 2 : 100,
    }
    this.#operationRandoms = [first, ...Array.from({ length: settings.views - 1 }, () => random.fork())]
    this.#viewRandom = random.fork()
  }

  async start(): Promise<void> {
    const { views } = this.#settings
    const layers = await makeLayers(this.#layerRandom, this.#dir, this.#settings)
    this.#layers = layers
    this.#lowersBefore = await this.#readLowers()
    const lowerIds = this.#lowersBefore.flatMap((tree) => [...tree.values()].map(({ status }) => status.fileId))
    if (views > 1) this.#stack = await openStack(parseOptions(`lowerdir=${layers.lowers.join(':')}`))
    for (let view = 0; view < views; view++) {
      const parts = { dir: `${this.#dir}/view${view}`, settings: this.#settings, layers, view }
      const random = this.#operationRandoms[view] as Random
      const pair = new Pair({ ...parts, random, limits: this.#limits, stack: this.#stack })
      this.#pairs.push(pair)
      await pair.start(lowerIds)
    }
  }

  async run(given: readonly Operation[] | undefined): Promise<Outcome> {
    const done: Operation[] = []
    let succeeded = 0
    try {
      for (const pair of this.#pairs) await pair.compareTrees()
      const count = given?.length ?? this.#settings.operations
      for (let i = 0; i < count; i++) {
        const operation = given?.[i] ?? this.#next()
        done.push(operation)
        if (await this.#pairOf(operation).step(operation)) succeeded++
      }
      for (const pair of this.#pairs) await pair.finish()
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
    for (const pair of this.#pairs) await pair.end()
    await this.#stack?.close()
  }

  #next(): Operation {
    const { views } = this.#settings
    if (views === 1) return this.#pairOf({}).next()
    const view = this.#viewRandom.below(views)
    if (this.#viewRandom.chance(REOPENED)) return { user: false, op: 'remount', view }
    return { ...this.#pairOf({ view }).next(), view }
  }

  #pairOf({ view = 0 }: Pick<Operation, 'view'>): Pair {
    return this.#pairs[view] as Pair
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
