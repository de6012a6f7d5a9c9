import { isErrno } from '../api/errno.ts'
import type { Identity } from '../layer/identity.ts'
import {
  type KeptIdentity,
  type KnownFileSystem,
  NOTHING_KEPT,
  readIdentityFile,
  writeIdentityFile,
} from './identity-file.ts'
import { numberFileSystems, type UnnumberedFileSystem } from './numbering.ts'

type Read = Awaited<ReturnType<typeof readIdentityFile>>

/** What an overlay remembers so that its objects keep their identities whatever layers it has: on disk where it has a place for that. */
export class IdentityKeeper {
  readonly #dirFd: number | undefined
  /** Of this process alone. */
  readonly session: string
  /** What was read of disks, by device and mount: for remounts. */
  readonly exactMarks = new Map<string, string | undefined>()
  #kept: KeptIdentity
  #written: string
  /** What is kept is in the form of an earlier version. */
  #isOld: boolean

  private constructor(dirFd: number | undefined, { kept, isOld }: Read, session: Uint8Array) {
    this.session = Buffer.from(session).toString('hex')
    this.#dirFd = dirFd
    this.#kept = kept
    this.#written = JSON.stringify(kept)
    this.#isOld = isOld
  }

  /** @param dirFd where the file lies, stays open and the caller's; undefined to remember in memory only */
  static async open(dirFd: number | undefined, session: Uint8Array): Promise<IdentityKeeper> {
    const read = dirFd === undefined ? { kept: NOTHING_KEPT, isOld: false } : await readIdentityFile(dirFd)
    return new IdentityKeeper(dirFd, read, session)
  }

  /** The number of each file system, by device. */
  number(present: readonly UnnumberedFileSystem[]): ReadonlyMap<string, number> {
    const { numbers, known } = numberFileSystems(this.#kept.fileSystems, present)
    this.#kept = { ...this.#kept, fileSystems: known }
    return numbers
  }

  /** All file systems that were ever part of the overlay, as far as they are remembered. */
  get fileSystems(): readonly KnownFileSystem[] {
    return this.#kept.fileSystems
  }

  /** Whether the number goes into generations (`KnownFileSystem.salted`). */
  isSalted(number: number): boolean {
    return this.#kept.fileSystems.some((entry) => entry.index === number && entry.salted)
  }

  /** Notes of which file systems the index holds hard links: the others of a UUID have none in it. */
  noteIndexed(uuid: string, numbers: ReadonlySet<number>): void {
    this.#change((entry) =>
      entry.uuid === uuid ? { ...entry, indexed: numbers.has(entry.index) || undefined } : entry,
    )
  }

  /** Notes that copies of objects in the file system `number` bear no identity from now on. */
  noteUnmarked(number: number): void {
    this.#change((entry) => (entry.index === number ? { ...entry, marked: undefined } : entry))
  }

  #change(change: (entry: KnownFileSystem) => KnownFileSystem): void {
    this.#kept = { ...this.#kept, fileSystems: this.#kept.fileSystems.map(change) }
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
    const isNew = text !== this.#written
    if (!isNew && !this.#isOld) return
    try {
      if (this.#dirFd !== undefined) await writeIdentityFile(this.#dirFd, this.#kept)
    } catch (error) {
      // The same as before stays where it is until there is room for its new form.
      if (isNew || !isErrno(error, 'ENOSPC', 'EDQUOT', 'EROFS')) throw error
      return
    }
    this.#written = text
    this.#isOld = false
  }
}
