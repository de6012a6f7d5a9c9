import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  type Cred,
  type MountOptions,
  mount,
  type Overlay,
  parseOptions,
  type Stack,
} from '../../overlay-core/index.ts'
import { CoreView } from './core-view.ts'
import { explained } from './deviations.ts'
import { generate } from './generate.ts'
import { KernelView } from './kernel-view.ts'
import type { LayerStack } from './layers.ts'
import { ListingJudge } from './listing-judge.ts'
import { Model } from './model.ts'
import * as native from './native.ts'
import { closeSlots, execute, NOT_COMPARED, type Operation, type Slots } from './operations.ts'
import type { Random } from './random.ts'
import { coreMountString, mountString, type Settings } from './settings.ts'
import { type Allowed, type ClockWindow, differences, readTree, type Tree } from './tree.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
const MS_NOATIME_NODEV = 1024 | 4
/** The most layers that a round freezes. */
const MOST_FROZEN = 6
/** The length of a rename or link, as JSON, that needs no long redirect: these have 256 bytes at most. */
const LONGEST_MOVE = 256
/** Operations between two comparisons of the whole trees. */
const COMPARE_EVERY = 30

/** Thrown inside a round when the sides differ. */
export class Difference extends Error {
  readonly lines: readonly string[]
  constructor(lines: readonly string[]) {
    super(lines.join('\n'))
    this.lines = lines
  }
}

/** What a pair is made of. */
export interface PairParts {
  /** Its own directory, for the mount point, uppers and workdirs. */
  readonly dir: string
  readonly settings: Settings
  readonly layers: LayerStack
  /** The number of the view, from 0. */
  readonly view: number
  /** What is drawn for its operations. */
  readonly random: Random
  readonly limits: { readonly dentryLimit: number; readonly listingLimit: number; readonly fileLimit: number }
  /** The lowers of overlayd, if several views share them. */
  readonly stack: Stack | undefined
}

/** One view of the lowers, as a kernel overlay and as overlay-core, each with an upper of its own. */
export class Pair {
  readonly #parts: PairParts
  readonly #dir: string
  readonly #settings: Settings
  readonly #layers: LayerStack
  readonly #model = new Model()
  readonly #kernelSlots: Slots = { handles: new Map(), streams: new Map() }
  readonly #coreSlots: Slots = { handles: new Map(), streams: new Map() }
  readonly #judge = new ListingJudge()
  readonly #startedAt = Math.floor(Date.now() / 1000) - 1
  #allowed: Allowed = {}
  #kernel: KernelView | undefined
  #overlay: Overlay | undefined
  #core: CoreView | undefined
  /** Which of the two uppers the kernel has now. */
  #kernelUpper = 0
  #ownMounted = false
  #liveRemounts = 0
  /** The layers that each of the two uppers was, topmost first. */
  readonly #frozen: readonly [string[], string[]] = [[], []]
  #drawn = 0
  #freezes = 0
  /** The rest of operations that belong together. */
  readonly #planned: Operation[] = []

  constructor(parts: PairParts) {
    this.#parts = parts
    this.#dir = parts.dir
    this.#settings = parts.settings
    this.#layers = parts.layers
  }

  /** @param lowerIds the file ids of all objects in the lowers */
  async start(lowerIds: readonly string[]): Promise<void> {
    native.mkdir(this.#dir, 0o755)
    native.mkdir(`${this.#dir}/mount`, 0o755)
    if (this.#settings.upperOn === 'ramfs') this.#mountOwn()
    for (const i of [0, 1]) {
      const [upper, work] = this.#place(i)
      native.mkdir(work, 0o755)
      // What a ramfs cannot hold the other upper has not either.
      if (this.#settings.upperOn === 'layers') this.#layers.fillUpper(upper, this.#parts.view)
      else native.mkdir(upper, 0o755)
    }
    const { index, metacopy } = this.#settings.mount
    this.#allowed = {
      separated: new Set(index === 'off' ? lowerIds : []),
      completion: metacopy === 'on' || this.#settings.upperOn === 'ramfs',
    }
    await this.#mount()
  }

  /** Ends the operations: both sides must still show the same after a remount, with the uppers exchanged where that is possible. */
  async finish(): Promise<void> {
    const last = await this.compareTrees()
    await (this.#swapsNow ? this.#swap(last) : this.#remount(last))
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

  /** Whether it can read it now. It has no index of frozen layers, so it would show names of hard links as they were before their first change. */
  get #swapsNow(): boolean {
    return this.#swaps && !this.#frozen.flat().some((path) => existsSync(join(dirname(path), 'index')))
  }

  /** The next operation; draws it. */
  next(): Operation {
    if (++this.#drawn % COMPARE_EVERY === 0) return { user: false, op: 'compare' }
    if (this.#planned.length === 0) {
      const { user, upperOn } = this.#settings
      const setting = { user, mounts: true, xattrs: upperOn === 'layers' }
      this.#planned.push(...generate(this.#parts.random, this.#model, setting))
    }
    return this.#planned.shift() as Operation
  }

  /** Does one operation on both sides; whether it succeeded. */
  async step(operation: Operation): Promise<boolean> {
    if (operation.op === 'compare') return (await this.compareTrees()) !== undefined
    if (operation.op === 'remount' || operation.op === 'swap') {
      const before = await this.compareTrees()
      if (operation.op === 'swap' && this.#swapsNow) await this.#swap(before)
      else await this.#remount(before)
      return true
    }
    if (operation.op === 'freeze') {
      await this.#freeze()
      return true
    }
    if (operation.op === 'liveRemount') {
      await this.#liveRemount()
      return true
    }
    if (this.#differsAfterFreeze(operation)) return false
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

  /** Whether the kernel does it otherwise with a lower, which the object is after a freeze: redirects may be too long, and no ACL cannot be removed. */
  #differsAfterFreeze(operation: Operation): boolean {
    if (this.#frozen.flat().length === 0) return false
    if (operation.op === 'rename' || operation.op === 'link') return JSON.stringify(operation).length > LONGEST_MOVE
    return operation.op === 'setxattr' && operation.name.startsWith('system.posix_acl_')
  }

  async #judgeListing(operation: Operation, failed: boolean): Promise<void> {
    const lines = await this.#judge.see(operation, failed, this.#coreSlots, this.#kernel as KernelView)
    if (lines.length > 0) throw new Difference(lines)
  }

  /** Compares both trees and gives back the kernel's. */
  async compareTrees(): Promise<Tree> {
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
    const { lowers } = this.#layers
    if (++this.#liveRemounts % 2 === 0 && lowers.length > 1) {
      this.#closeAll()
      await this.#overlay?.remount(this.#ownOptions([lowers[0] as string]))
    }
    await this.#overlay?.remount(this.#ownOptions(lowers))
  }

  /** Only of overlayd, with everything open that is open: nothing may show that the upper is another one. */
  async #freeze(): Promise<void> {
    const { mount: options } = this.#settings
    const which = 1 - this.#kernelUpper
    const frozen = this.#frozen[which] as string[]
    // With index=off, a freeze separates hard links as a copy-up does; with redirect_dir=off, directories in it cannot be moved any more.
    if (
      !this.#swaps ||
      options.index === 'off' ||
      options.redirect_dir !== 'on' ||
      options.metacopy === 'on' ||
      frozen.length >= MOST_FROZEN
    )
      return
    // A file that is open under a name that was removed, and has others, cannot be copied up until one of these is looked up.
    for (const handle of this.#kernelSlots.handles.values()) if ((await handle.stat()).nlink > 1) return
    const directory = `${this.#dir}/frozen${which}-${this.#freezes++}`
    native.mkdir(directory, 0o755)
    frozen.unshift(`${directory}/upper`)
    await this.#overlay?.freeze(directory, this.#ownOptions(this.#layers.lowers))
    if (this.#freezes % 2 === 0 && frozen.length > 1) await this.#squash(frozen)
  }

  /** Merges frozen layers of overlayd: all of them, or all but the topmost. */
  async #squash(frozen: string[]): Promise<void> {
    const first = frozen.length > 2 ? this.#freezes % 2 : 0
    const chosen = frozen.slice(first)
    const place = dirname(chosen[0] as string)
    const directory = `${place}-merging`
    native.mkdir(directory, 0o755)
    const squash = this.#overlay?.squash(chosen, directory)
    await squash?.make()
    frozen.splice(first + 1)
    await squash?.adopt(place, this.#ownOptions(this.#layers.lowers), { stack: this.#parts.stack })
    execFileSync('rm', ['-r', directory, ...chosen.slice(1).map((layer) => dirname(layer))])
    squash?.end()
  }

  /** Gives each side what the other has written; all four views must be the same. */
  async #swap(before: Tree): Promise<void> {
    this.#kernelUpper = 1 - this.#kernelUpper
    await this.#remount(before, ["the kernel with overlayd's upper", "overlayd with the kernel's upper"])
  }

  async #mount(): Promise<void> {
    const { lowers } = this.#layers
    const { mount: options } = this.#settings
    const point = `${this.#dir}/mount`
    native.mount(
      'overlay',
      point,
      'overlay',
      MS_NOATIME_NODEV,
      mountString(options, [...(this.#frozen[this.#kernelUpper] ?? []), ...lowers], ...this.#place(this.#kernelUpper)),
    )
    this.#kernel = new KernelView(point, options.userxattr)
    this.#overlay = await mount(this.#ownOptions(lowers), {
      ...this.#parts.limits,
      stack: this.#parts.stack,
    })
    this.#core = new CoreView(this.#overlay)
  }

  #ownOptions(lowers: readonly string[]): MountOptions {
    const which = 1 - this.#kernelUpper
    const frozen = this.#frozen[which] as string[]
    const text = coreMountString(this.#settings.mount, [...frozen, ...lowers], ...this.#place(which))
    return { ...parseOptions(text), frozen: frozen.length }
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
}
