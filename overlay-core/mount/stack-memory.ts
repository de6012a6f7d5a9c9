import { isUnwritable } from '../api/errno.ts'
import type { StackMemory } from '../api/overlay-api.ts'
import { every } from '../base/ticks.ts'
import { CallEpochs } from '../layer/call-epochs.ts'
import type { Layer } from '../layer/layer.ts'
import { HandleStore } from '../objects/handle-store.ts'
import { IdentityKeeper } from './identity-keeper.ts'
import { digestOf, type Layers } from './layers.ts'
import { handleFileOf } from './memory.ts'
import { digestOfRoots } from './sharing.ts'

/** What overlays on the stacks of one memory have in common. */
export interface Common {
  /** Since when the lowers are what they are, in ms since the epoch; 0: they have never changed. */
  readonly sinceMs: number
  /** The seed of the cookies in listings. */
  readonly cookieSeed: Uint8Array
  /** Where lower objects are recorded; undefined if the overlay must do that for itself. */
  readonly handles: HandleStore | undefined
}

/** It numbers file systems and records nothing in directories, so it has no use for one. */
const NO_SESSION = new Uint8Array(16)

/**
 * What outlives the stacks of a set of overlays, which are on one stack at a time: where handles of lower objects lead, the numbers of file systems, and since
 * when the lowers are what they are. In a directory it also outlives the process.
 *
 * Numbers are part of identities, so an overlay records lower objects here only if it has given their file systems the same numbers. New overlays take over
 * those from here, so only overlays that are older than this memory may differ.
 */
export class CommonMemory implements StackMemory {
  /** The calls of all overlays on its stacks. */
  readonly calls = new CallEpochs()
  readonly #handles: HandleStore | undefined
  readonly #keeper: IdentityKeeper
  #cookieSeed: Uint8Array | undefined
  #saving: Promise<unknown> = Promise.resolve()

  private constructor(handles: HandleStore | undefined, keeper: IdentityKeeper) {
    this.#handles = handles
    this.#keeper = keeper
  }

  /** For one stack: each overlay records handles for itself. */
  static async ofOneStack(): Promise<CommonMemory> {
    return new CommonMemory(undefined, await IdentityKeeper.open(undefined, NO_SESSION))
  }

  /** @param directory a directory that only this process uses; undefined to forget everything at the end */
  static async open(directory: string | undefined): Promise<CommonMemory> {
    const file = await handleFileOf(directory)
    try {
      const keeper = await IdentityKeeper.open(file.directoryFd, NO_SESSION)
      return new CommonMemory(new HandleStore(file, { every }), keeper)
    } catch (error) {
      file.close()
      throw error
    }
  }

  get usage(): { readonly handles: number; readonly bytes: number } {
    const { handles = 0, bytes = 0 } = this.#handles?.usage ?? {}
    return { handles, bytes }
  }

  /** Numbers the file systems of an overlay as those of the others, as far as it has not numbered them yet. Call it before it does. */
  numbersFor(keeper: IdentityKeeper): void {
    keeper.adopt(this.#keeper)
  }

  /**
   * What an overlay with these layers has in common with the others, durably.
   *
   * @param keeper with the numbers of its file systems
   * @param sinceMs since when it has these layers
   */
  async join(
    keeper: IdentityKeeper,
    layers: Layers,
    { sinceMs, nowMs }: { readonly sinceMs: number; readonly nowMs: number },
  ): Promise<Common> {
    const own = this.#keeper
    const numbers = numbersOf(layers)
    // Uppers may be on any number of file systems.
    own.adopt(keeper, numbers)
    this.#cookieSeed ??= own.uuid(digestOfRoots(layers.lowers))
    const cookieSeed = this.#cookieSeed
    if (!own.agrees(keeper, numbers)) return { sinceMs, cookieSeed, handles: undefined }
    const digest = digestOf(layers)
    const haveChanged = own.hadOthers(digest)
    const since = own.stackSinceMs(digest, nowMs, sinceMs)
    if (haveChanged) this.#handles?.layersChanged()
    return { sinceMs: since, cookieSeed, handles: (await this.#save()) ? this.#handles : undefined }
  }

  /** Writes everything, durably, and closes it. No overlay may use it any more. @throws the error of the disk */
  async close(): Promise<void> {
    await this.#saving
    await this.#handles?.close(true)
  }

  /** Whether the numbers are saved. */
  async #save(): Promise<boolean> {
    const saved = this.#saving.then(async () => {
      try {
        await this.#keeper.save()
        return true
      } catch (error) {
        if (!isUnwritable(error)) throw error
        return false
      }
    })
    this.#saving = saved.catch(() => undefined)
    return await saved
  }
}

function numbersOf({ lowers, data }: Layers): Set<number> {
  return new Set([...lowers, ...data].map(({ fsIndex }: Layer) => fsIndex))
}

/**
 * Opens what outlives the stacks of a set of overlays. Pass it to `openStack`, and close it when the stacks are closed.
 *
 * @param directory a directory that only this process uses, mode 0700; undefined to forget everything at the end
 */
export async function openStackMemory(directory: string | undefined): Promise<StackMemory> {
  return await CommonMemory.open(directory)
}
