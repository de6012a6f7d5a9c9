import { isUnwritable } from '../api/errno.ts'
import { type InDirectory, keptOpen } from '../base/log-file.ts'
import type { Identity } from '../layer/identity.ts'
import {
  IDENTITY_FILE_NAMES,
  type KeptIdentity,
  type KnownFileSystem,
  NOTHING_KEPT,
  readIdentityFile,
  syncIdentityFile,
  writeFirstIdentityFile,
  writeIdentityFile,
} from './identity-file.ts'
import { adoptable, agreeOn, numberFileSystems, type UnnumberedFileSystem } from './numbering.ts'

type Read = Awaited<ReturnType<typeof readIdentityFile>>

/** Remembers what keeps the identities of objects stable when the layers of an overlay change; on disk if it has a directory for that. */
export class IdentityKeeper {
  readonly #inDirectory: InDirectory | undefined
  /** Identifies this process. */
  readonly session: string
  /** The marks that were read from disks, by device and mount, for remounts. */
  readonly exactMarks = new Map<string, string | undefined>()
  #kept: KeptIdentity
  #written: string
  /** Whether the file has the format of an earlier version. */
  #isOld: boolean
  /** Whether there was no file. */
  #isFirst: boolean
  #undurable = false
  #syncing: Promise<void> | undefined

  private constructor(within: InDirectory | undefined, { kept, isOld }: Read, session: Uint8Array) {
    this.session = Buffer.from(session).toString('hex')
    this.#inDirectory = within
    this.#kept = kept
    this.#written = JSON.stringify(kept)
    this.#isOld = isOld
    this.#isFirst = kept === NOTHING_KEPT && !isOld
  }

  /**
   * @param dirFd the directory of the file, which the caller keeps open; undefined to remember in memory only
   * @param names the names in the directory, if known
   * @param within opens the directory again, so that the caller may close `dirFd` later
   */
  static async open(
    dirFd: number | undefined,
    session: Uint8Array,
    names?: ReadonlySet<string>,
    within = dirFd === undefined ? undefined : keptOpen(dirFd),
  ): Promise<IdentityKeeper> {
    const isThere = dirFd !== undefined && (!names || IDENTITY_FILE_NAMES.some((name) => names.has(name)))
    const read = isThere ? await readIdentityFile(dirFd) : { kept: NOTHING_KEPT, isOld: false }
    return new IdentityKeeper(within, read, session)
  }

  /** Returns the number of each file system, by device. */
  number(present: readonly UnnumberedFileSystem[]): ReadonlyMap<string, number> {
    const { numbers, known } = numberFileSystems(this.#kept.fileSystems, present)
    this.#kept = { ...this.#kept, fileSystems: known }
    return numbers
  }

  /** Takes over numbers of another keeper, or only these, for file systems that have none here. */
  adopt({ fileSystems }: Pick<IdentityKeeper, 'fileSystems'>, numbers?: ReadonlySet<number>): void {
    const offered = numbers ? fileSystems.filter(({ index }) => numbers.has(index)) : fileSystems
    const fresh = adoptable(this.#kept.fileSystems, offered)
    if (fresh.length > 0) this.#kept = { ...this.#kept, fileSystems: [...this.#kept.fileSystems, ...fresh] }
  }

  /** Whether objects of the file systems with these numbers have the same identities by the other keeper. */
  agrees({ fileSystems }: Pick<IdentityKeeper, 'fileSystems'>, numbers: Iterable<number>): boolean {
    return [...numbers].every((number) => agreeOn(number, this.#kept.fileSystems, fileSystems))
  }

  /** All remembered file systems that hold layers of the overlay, or held them earlier. */
  get fileSystems(): readonly KnownFileSystem[] {
    return this.#kept.fileSystems
  }

  /** Whether generations include the number (`KnownFileSystem.salted`). */
  isSalted(number: number): boolean {
    return this.#kept.fileSystems.some((entry) => entry.index === number && entry.salted)
  }

  /** Records which file systems have hard links in the index. Other file systems with the same UUID have none in it. */
  noteIndexed(uuid: string, numbers: ReadonlySet<number>): void {
    this.#change((entry) =>
      entry.uuid === uuid ? { ...entry, indexed: numbers.has(entry.index) || undefined } : entry,
    )
  }

  /** Records that copies of objects in the file system `number` carry no identity from now on. */
  noteUnmarked(number: number): void {
    this.#change((entry) => (entry.index === number ? { ...entry, marked: undefined } : entry))
  }

  #change(change: (entry: KnownFileSystem) => KnownFileSystem): void {
    this.#kept = { ...this.#kept, fileSystems: this.#kept.fileSystems.map(change) }
  }

  /** Whether it remembers other layers than those with this digest. */
  hadOthers(layers: string): boolean {
    const { stack } = this.#kept
    return stack !== undefined && stack.layers !== layers
  }

  /** The UUID of an overlay that has no upper to store it: the remembered one, otherwise `first`. */
  uuid(first: Uint8Array): Uint8Array {
    const uuid = this.#kept.uuid ?? Buffer.from(first).toString('hex')
    this.#kept = { ...this.#kept, uuid }
    return new Uint8Array(Buffer.from(uuid, 'hex'))
  }

  /** The identity of the root of an overlay without an upper: the remembered one, otherwise `first`. */
  root(first: Identity): Identity {
    const { key, generation, fileIdHi, fileIdLo } = this.#kept.root ?? first
    const root = { key, generation, fileIdHi, fileIdLo }
    this.#kept = { ...this.#kept, root }
    return root
  }

  /** The identity that the root has kept; undefined if it is that of its topmost directory. */
  get keptRoot(): Identity | undefined {
    return this.#kept.root
  }

  /** The layers have this digest from now on, but nothing that clients see has changed. */
  keepStack(layers: string): void {
    const { stack } = this.#kept
    this.#kept = { ...this.#kept, stack: { layers, sinceMs: stack?.sinceMs ?? 0 } }
  }

  /**
   * Since when the overlay has had the layers with this digest, in ms since the epoch: `nowMs` if they have changed, `firstMs` if there were none before (0:
   * they never changed).
   */
  stackSinceMs(layers: string, nowMs: number, firstMs = 0): number {
    const { stack } = this.#kept
    if (stack?.layers === layers) return stack.sinceMs
    const sinceMs = stack === undefined ? firstMs : nowMs
    this.#kept = { ...this.#kept, stack: { layers, sinceMs } }
    return sinceMs
  }

  /**
   * Saves changes durably, before any object is shown with an identity that depends on them. With `lazily`, a first file is only written: `makeDurable` must
   * be called before anything else is promised to be durable. After a power loss before that, the same layers get the same identities.
   */
  async save(lazily = false): Promise<void> {
    const text = JSON.stringify(this.#kept)
    const isNew = text !== this.#written
    if (!isNew && !this.#isOld) return
    try {
      await this.#inDirectory?.((dirFd) => this.#write(dirFd, lazily && this.#isFirst))
    } catch (error) {
      // The old file holds the same data and stays until there is space for its new format.
      if (isNew || !isUnwritable(error)) throw error
      return
    }
    this.#written = text
    this.#isOld = false
    this.#isFirst = false
  }

  async #write(dirFd: number, lazily: boolean): Promise<void> {
    await (lazily ? writeFirstIdentityFile(dirFd, this.#kept) : writeIdentityFile(dirFd, this.#kept))
    this.#undurable = lazily
  }

  /** Resolves when everything saved is durable; undefined if it is. @throws the error of the disk */
  makeDurable(): Promise<void> | undefined {
    if (!this.#undurable) return undefined
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined
    })
    return this.#syncing
  }

  async #sync(): Promise<void> {
    await this.#inDirectory?.(syncIdentityFile)
    this.#undurable = false
  }
}
