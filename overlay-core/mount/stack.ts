import type { Stack, StackMemory } from '../api/overlay-api.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import type { CallEpochs } from '../layer/call-epochs.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { type LowerBudgets, SharedLowers } from '../stack/shared-lowers.ts'
import { closesDone } from '../sys/open.ts'
import { KnownLayers } from './known-layers.ts'
import { apartFrozen, type Layers } from './layers.ts'
import { closeLowers, type LowerRoots, openLowers } from './roots.ts'
import { type LowerView, sharingKey } from './sharing.ts'
import { type Common, CommonMemory } from './stack-memory.ts'

/** The overlays that share what is known of the lowers. */
interface Group {
  readonly shared: SharedLowers
  users: number
}

/** The lowers that several overlays share. It stays open until the last of them ends. */
export class LowerStack implements Stack {
  readonly roots: LowerRoots
  readonly known = new KnownLayers()
  readonly memory: CommonMemory
  readonly #groups = new Map<string, Group>()
  readonly #options: MountOptions
  #users = 0
  #closing: PromiseWithResolvers<void> | undefined

  private constructor(roots: LowerRoots, options: MountOptions, memory: CommonMemory) {
    const shared = true
    this.roots = {
      lowers: roots.lowers.map((root) => ({ ...root, shared })),
      data: roots.data.map((root) => ({ ...root, shared })),
    }
    this.#options = options
    this.memory = memory
  }

  static async open(options: MountOptions, memory: CommonMemory): Promise<LowerStack> {
    return new LowerStack(await openLowers(options, { upper: undefined, work: undefined }), options, memory)
  }

  /** The calls of all overlays that can use its descriptors. */
  get calls(): CallEpochs {
    return this.memory.calls
  }

  get users(): number {
    return this.#users
  }

  /** Admits an overlay with these options, until `leave`. @throws OptionError it has other lowers, or the stack is closed */
  enter({ lowerdir, datadir, frozen = 0 }: MountOptions): void {
    if (!isSame(lowerdir.slice(frozen), this.#options.lowerdir)) throw otherThan('lowerdir', this.#options.lowerdir)
    if (!isSame(datadir, this.#options.datadir)) throw otherThan('datadir', this.#options.datadir)
    if (this.#closing) throw new OptionError('lowerdir', 'the stack is closed; open it again')
    this.#users++
  }

  /**
   * The lowers of an overlay with `layers`, shared with the others that see them in the same way; undefined if it must have its own. Call `end` when the
   * overlay has ended.
   */
  share(
    layers: Layers,
    view: LowerView,
    budgets: LowerBudgets,
    cookieSeed: Uint8Array,
  ): { shared: SharedLowers; end(): void } | undefined {
    const key = sharingKey(layers, view)
    if (key === undefined) return undefined
    const group = this.#groups.get(key) ?? {
      shared: new SharedLowers(layers, cookieSeed, budgets, this.calls, view.options.revalidate !== 'never'),
      users: 0,
    }
    this.#groups.set(key, group)
    group.users++
    const end = () => {
      if (--group.users > 0) return
      this.#groups.delete(key)
      group.shared.clear()
    }
    return { shared: group.shared, end }
  }

  leave(): void {
    this.#users--
    if (this.#users === 0 && this.#closing) this.#end(this.#closing)
  }

  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = Promise.withResolvers()
      if (this.#users === 0) this.#end(this.#closing)
    }
    await this.#closing.promise
    await closesDone()
  }

  #end({ resolve }: PromiseWithResolvers<void>): void {
    closeLowers({
      lowers: this.roots.lowers.map((root) => ({ ...root, shared: false })),
      data: this.roots.data.map((root) => ({ ...root, shared: false })),
    })
    resolve()
  }
}

/** The lowers of an overlay on `stack`, or of one without a stack. Call `endSharing` when it has ended. */
export function lowersOf(
  stack: LowerStack | undefined,
  common: Common | undefined,
  layers: Layers,
  view: LowerView & Pick<SuperBlock, 'uuid'>,
  budgets: LowerBudgets,
): Pick<SuperBlock, 'lowers' | 'dataLayers' | 'cookieSeed'> & { endSharing(): void } {
  // Frozen layers belong to this overlay alone.
  const [own, below] = apartFrozen(layers)
  const sharing = common && stack?.share(below, view, budgets, common.cookieSeed)
  const { shared, end } = sharing ?? { shared: undefined, end: () => undefined }
  const { lowers, data } = shared ?? below
  return { lowers: [...own, ...lowers], dataLayers: data, cookieSeed: shared?.cookieSeed ?? view.uuid, endSharing: end }
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((path, i) => path === other[i])
}

function otherThan(option: 'lowerdir' | 'datadir', paths: readonly string[]): OptionError {
  return new OptionError(option, `is not that of the stack (${paths.join(':')}); use that, or mount without the stack`)
}

/**
 * Opens the lowers of `options` for several overlays, which are mounted with the same `lowerdir` and `datadir`.
 *
 * @param how with `memory`, the overlays on this stack and on others with the same memory record handles of lower objects there, and can be remounted from one
 * stack to another
 * @throws OptionError a directory is missing, unreadable or nested
 */
export async function openStack(options: MountOptions, how: { readonly memory?: StackMemory } = {}): Promise<Stack> {
  return await LowerStack.open(options, (how.memory as CommonMemory | undefined) ?? (await CommonMemory.ofOneStack()))
}
