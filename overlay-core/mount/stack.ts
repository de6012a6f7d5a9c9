import type { Stack } from '../api/overlay-api.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import { closesDone } from '../sys/open.ts'
import { KnownLayers } from './known-layers.ts'
import { closeLowers, type LowerRoots, openLowers } from './roots.ts'

/** The lowers that several overlays share. It stays open until the last of them ends. */
export class LowerStack implements Stack {
  readonly roots: LowerRoots
  readonly known = new KnownLayers()
  readonly #options: MountOptions
  #users = 0
  #closing: PromiseWithResolvers<void> | undefined

  private constructor(roots: LowerRoots, options: MountOptions) {
    const shared = true
    this.roots = {
      lowers: roots.lowers.map((root) => ({ ...root, shared })),
      data: roots.data.map((root) => ({ ...root, shared })),
    }
    this.#options = options
  }

  static async open(options: MountOptions): Promise<LowerStack> {
    return new LowerStack(await openLowers(options, { upper: undefined, work: undefined }), options)
  }

  get users(): number {
    return this.#users
  }

  /** Admits an overlay with these options, until `leave`. @throws OptionError it has other lowers, or the stack is closed */
  enter({ lowerdir, datadir }: MountOptions): void {
    if (!isSame(lowerdir, this.#options.lowerdir)) throw otherThan('lowerdir', this.#options.lowerdir)
    if (!isSame(datadir, this.#options.datadir)) throw otherThan('datadir', this.#options.datadir)
    if (this.#closing) throw new OptionError('lowerdir', 'the stack is closed; open it again')
    this.#users++
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

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((path, i) => path === other[i])
}

function otherThan(option: 'lowerdir' | 'datadir', paths: readonly string[]): OptionError {
  return new OptionError(option, `is not that of the stack (${paths.join(':')}); use that, or mount without the stack`)
}

/**
 * Opens the lowers of `options` for several overlays, which are mounted with the same `lowerdir` and `datadir`.
 *
 * @throws OptionError a directory is missing, unreadable or nested
 */
export async function openStack(options: MountOptions): Promise<Stack> {
  return await LowerStack.open(options)
}
