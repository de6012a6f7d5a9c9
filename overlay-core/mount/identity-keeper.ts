import type { Identity } from '../layer/identity.ts'
import { type KeptIdentity, NOTHING_KEPT, readIdentityFile, writeIdentityFile } from './identity-file.ts'
import { numberFileSystems, type UnnumberedFileSystem } from './numbering.ts'

/** What an overlay remembers so that its objects keep their identities whatever layers it has: on disk where it has a place for that. */
export class IdentityKeeper {
  readonly #dirFd: number | undefined
  #kept: KeptIdentity
  #written: string

  private constructor(dirFd: number | undefined, kept: KeptIdentity) {
    this.#dirFd = dirFd
    this.#kept = kept
    this.#written = JSON.stringify(kept)
  }

  /** @param dirFd where the file lies, stays open and the caller's; undefined to remember in memory only */
  static async open(dirFd: number | undefined): Promise<IdentityKeeper> {
    return new IdentityKeeper(dirFd, dirFd === undefined ? NOTHING_KEPT : await readIdentityFile(dirFd))
  }

  /** The number of each file system, by device. */
  number(present: readonly UnnumberedFileSystem[]): ReadonlyMap<string, number> {
    const { numbers, known } = numberFileSystems(this.#kept.fileSystems, present)
    this.#kept = { ...this.#kept, fileSystems: known }
    return numbers
  }

  /** The uuid of an overlay that has no upper to keep it: as kept, else `first`. */
  uuid(first: Uint8Array): Uint8Array {
    const uuid = this.#kept.uuid ?? Buffer.from(first).toString('hex')
    this.#kept = { ...this.#kept, uuid }
    return new Uint8Array(Buffer.from(uuid, 'hex'))
  }

  /** The identity of the root of an overlay without upper: as kept, else `first`. */
  root(first: Identity): Identity {
    const { key, generation, fileIdHi, fileIdLo } = this.#kept.root ?? first
    const root = { key, generation, fileIdHi, fileIdLo }
    this.#kept = { ...this.#kept, root }
    return root
  }

  /** Since when the overlay has had the layers with this digest, in ms of the epoch: `nowMs` when it had others before, 0 since ever. */
  stackSinceMs(layers: string, nowMs: number): number {
    const { stack } = this.#kept
    if (stack?.layers === layers) return stack.sinceMs
    const sinceMs = stack === undefined ? 0 : nowMs
    this.#kept = { ...this.#kept, stack: { layers, sinceMs } }
    return sinceMs
  }

  /** Makes what is new durable: before any object is shown by it. */
  async save(): Promise<void> {
    const text = JSON.stringify(this.#kept)
    if (text === this.#written) return
    if (this.#dirFd !== undefined) await writeIdentityFile(this.#dirFd, this.#kept)
    this.#written = text
  }
}
