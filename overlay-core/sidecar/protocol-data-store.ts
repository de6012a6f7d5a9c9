import { bestEffort, isErrno, OverlayError } from '../api/errno.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import { type Layer, Real } from '../layer/layer.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import type { XattrStore } from '../layer/xattr-store.ts'
import { fsync, pread, pwrite } from '../sys/data.ts'
import { mkdirAt, readdirFd, renameAt, unlinkAt } from '../sys/dir.ts'
import { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR } from '../sys/flags.ts'
import { nameToHandle, openByHandle } from '../sys/handle.ts'
import { closeLater, closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

/** The name of the directory in the workdir that holds large protocol data. */
export const PROTOCOL_DATA_DIRECTORY = 'notes'
/** Larger data does not go into the attribute: some file systems have only 4 KiB for all attributes of an object, and the marks need space too. */
export const INLINE_DATA_BYTES = 2048
const LARGEST_BYTES = 1024 * 1024
const ID_BYTES = 8
/** The size of the header of a file: its id, and the type, length and 128 bytes of the kernel's file handle of the object. */
const HEADER_BYTES = ID_BYTES + 8 + 128

/** Whether an attribute refers to the store: it contains a NUL, with which no data in an attribute starts, and the id. */
export function isMarker(value: Uint8Array): boolean {
  return value.length === 1 + ID_BYTES && value[0] === 0
}

/**
 * Protocol data that is too large for an extended attribute, in files in the workdir, which no mount shows. The name of a file consists of the
 * inode number of the upper object, the slot and an id, which the object's attribute repeats. So leftovers of a crash, and markers copied up
 * from a lower, match nothing. Files are never changed, only replaced. They are removed with their object: as soon as its last name is
 * removed, or at the next mount.
 */
export class ProtocolDataStore {
  readonly #descriptors: Descriptors
  #layer: Layer
  #workdir: Real
  readonly #newId: (length: number) => Uint8Array
  readonly #volatile: boolean
  /** Undefined until data is stored. */
  #dir: Real | undefined
  readonly #files = new Map<number, Set<string>>()
  /** The object of each file, by its slot and id: a copy of a frozen object refers to the file of that. */
  readonly #owners = new Map<string, number>()
  #temps = 0

  private constructor(
    descriptors: Descriptors,
    layer: Layer,
    workdir: Real,
    how: { newId: (length: number) => Uint8Array; volatile: boolean },
  ) {
    this.#descriptors = descriptors
    this.#layer = layer
    this.#workdir = workdir
    this.#newId = how.newId
    this.#volatile = how.volatile
  }

  /** The store of a workdir. Its present content is used after `load`. */
  static in(
    descriptors: Descriptors,
    layer: Layer,
    workdir: Real,
    how: { newId: (length: number) => Uint8Array; volatile: boolean },
  ): ProtocolDataStore {
    return new ProtocolDataStore(descriptors, layer, workdir, how)
  }

  /** Reads the existing content and removes the data of objects that no longer exist, as far as the process can tell. */
  async load(attributes: XattrStore, xattrs: XattrNames): Promise<void> {
    try {
      await this.#open(await this.#descriptors.of(this.#workdir))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return
      throw error
    }
    const storeFd = await this.#descriptors.of(this.#dir as Real)
    for (const { name } of await readdirFd(storeFd)) {
      const [, ino, slot] = /^([0-9a-z]+)\.([\w-]+)\.[0-9a-f]{16}$/.exec(name) ?? []
      if (
        ino === undefined ||
        slot === undefined ||
        (await this.#isOrphan(storeFd, name, attributes, xattrs.protocolData(slot)))
      ) {
        await bestEffort(() => unlinkAt(storeFd, name))
      } else {
        this.#remember(Number.parseInt(ino, 36), name)
      }
    }
  }

  /** The upper has become a lower, and `layer` with this workdir has taken its place. The data of objects in both is in the workdir. */
  moved(layer: Layer, workdir: Real): void {
    if (this.#dir) {
      const { ino } = this.#dir
      this.#descriptors.drop(this.#dir)
      this.#dir = new Real(layer, workdir, PROTOCOL_DATA_DIRECTORY, ino)
    }
    this.#layer = layer
    this.#workdir = workdir
  }

  /** The data that `marker` on the upper object `ino` refers to; undefined if the store does not have it. */
  async read(ino: number | undefined, slot: string, marker: Uint8Array): Promise<Uint8Array | undefined> {
    if (ino === undefined || this.#dir === undefined) return
    const id = marker.subarray(1)
    const own = fileName(ino, slot, id)
    const owner = this.#files.get(ino)?.has(own) ? ino : this.#owners.get(ownerKey(slot, id))
    if (owner === undefined) return
    const name = fileName(owner, slot, id)
    const fd = await openAt(await this.#descriptors.of(this.#dir), name, O_RDONLY | O_NOFOLLOW)
    try {
      const size = statxFd(fd).size - HEADER_BYTES
      const value = Buffer.alloc(Math.max(0, size))
      return (await pread(fd, value, 0, value.length, HEADER_BYTES)) === value.length ? value : undefined
    } finally {
      closeLater(fd)
    }
  }

  /**
   * Writes data of the upper object `ino`, called `name` in `dirFd`. It takes effect once the returned marker is in the object's attribute.
   *
   * @throws ENOSPC the data is too large, or the disk is full
   */
  async write(dirFd: number, name: string, ino: number, slot: string, value: Uint8Array): Promise<Uint8Array> {
    if (value.length > LARGEST_BYTES) throw new OverlayError('ENOSPC', 'setProtocolData')
    const id = this.#newId(ID_BYTES)
    await this.#writeFile(dirFd, name, { ino, slot, id }, value)
    return Buffer.concat([Buffer.of(0), id])
  }

  /** Whether there is any data. */
  get isUsed(): boolean {
    return this.#owners.size > 0
  }

  /**
   * Stores the data that `marker` refers to for the object `ino` too, called `name` in `dirFd`, because that of which it is a copy may be deleted. All copies find it by the
   * same marker. @throws ENOSPC the disk is full
   */
  async keepFor(dirFd: number, name: string, ino: number, slot: string, marker: Uint8Array): Promise<void> {
    const id = marker.subarray(1)
    if (this.#files.get(ino)?.has(fileName(ino, slot, id))) return
    const value = await this.read(ino, slot, marker)
    if (value) await this.#writeFile(dirFd, name, { ino, slot, id }, value)
  }

  async #writeFile(
    dirFd: number,
    name: string,
    { ino, slot, id }: { readonly ino: number; readonly slot: string; readonly id: Uint8Array },
    value: Uint8Array,
  ): Promise<void> {
    const storeFd = await this.#descriptors.of(await this.#directory())
    const temp = `#${this.#temps++}`
    const fd = await openAt(storeFd, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      await pwrite(fd, await header(id, dirFd, name), 0)
      await pwrite(fd, value, HEADER_BYTES)
      if (!this.#volatile) await fsync(fd)
      const file = fileName(ino, slot, id)
      await renameAt(storeFd, temp, storeFd, file)
      this.#remember(ino, file)
    } catch (error) {
      await bestEffort(() => unlinkAt(storeFd, temp))
      throw error
    } finally {
      closeLater(fd)
    }
  }

  /** Removes all data of `slot` on the upper object `ino` except that of the marker `kept`. */
  async dropOthers(ino: number, slot: string, kept: Uint8Array | undefined): Promise<void> {
    const keep = kept && isMarker(kept) ? fileName(ino, slot, kept.subarray(1)) : undefined
    for (const file of [...(this.#files.get(ino) ?? [])]) {
      if (file !== keep && file.startsWith(`${fileStem(ino, slot)}.`)) await this.#remove(ino, file)
    }
  }

  /** The files of the upper object `ino`, for `forget`. */
  of(ino: number): readonly string[] {
    const files = this.#files.get(ino)
    return files === undefined ? [] : [...files]
  }

  /** Removes `files` of the upper object `ino` after its last name was removed. Another object may have the number by now. */
  forget(ino: number, files: readonly string[]): void {
    if (files.length === 0) return
    void this.#descriptors.run(async () => {
      for (const file of files) await this.#remove(ino, file)
    })
  }

  async #remove(ino: number, file: string): Promise<void> {
    const files = this.#files.get(ino)
    files?.delete(file)
    this.#owners.delete(keyIn(file))
    if (files?.size === 0) this.#files.delete(ino)
    const dir = this.#dir
    if (dir !== undefined) await bestEffort(async () => unlinkAt(await this.#descriptors.of(dir), file))
  }

  #remember(ino: number, file: string): void {
    const files = this.#files.get(ino)
    this.#owners.set(keyIn(file), ino)
    if (files === undefined) this.#files.set(ino, new Set([file]))
    else files.add(file)
  }

  async #directory(): Promise<Real> {
    if (this.#dir !== undefined) return this.#dir
    const workdirFd = await this.#descriptors.of(this.#workdir)
    try {
      await mkdirAt(workdirFd, PROTOCOL_DATA_DIRECTORY, 0o700)
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
    }
    return await this.#open(workdirFd)
  }

  async #open(workdirFd: number): Promise<Real> {
    const fd = await openAt(workdirFd, PROTOCOL_DATA_DIRECTORY, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    if (this.#dir !== undefined) {
      closeSync(fd)
      return this.#dir
    }
    try {
      this.#dir = new Real(this.#layer, this.#workdir, PROTOCOL_DATA_DIRECTORY, statxFd(fd).ino)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    this.#descriptors.adopt(this.#dir, fd)
    return this.#dir
  }

  /** Whether the object of a file no longer exists or refers to another file. In doubt, for example without privilege, the file is kept. */
  async #isOrphan(storeFd: number, file: string, attributes: XattrStore, attribute: string): Promise<boolean> {
    const head = Buffer.alloc(HEADER_BYTES)
    const fd = await openAt(storeFd, file, O_RDONLY | O_NOFOLLOW)
    try {
      if ((await pread(fd, head, 0, HEADER_BYTES, 0)) < HEADER_BYTES) return true
    } finally {
      closeLater(fd)
    }
    const length = head.readUInt32LE(ID_BYTES)
    if (length === 0 || length > 128) return false
    const handle = head.subarray(ID_BYTES + 8, ID_BYTES + 8 + length)
    let owner: number
    try {
      owner = await openByHandle(this.#layer.root.fd, head.readInt32LE(ID_BYTES + 4), handle, O_PATH)
    } catch (error) {
      if (isErrno(error)) return error.code === 'ESTALE'
      throw error
    }
    try {
      const marker = await attributes.get(owner, '', attribute)
      return marker === undefined || !isMarker(marker) || !head.subarray(0, ID_BYTES).equals(marker.subarray(1))
    } finally {
      closeLater(owner)
    }
  }
}

async function header(id: Uint8Array, dirFd: number, name: string): Promise<Uint8Array> {
  const head = Buffer.alloc(HEADER_BYTES)
  head.set(id)
  const handle = await nameToHandle(dirFd, name)
  if (handle === undefined || handle.bytes.length > 128) return head
  head.writeUInt32LE(handle.bytes.length, ID_BYTES)
  head.writeInt32LE(handle.type, ID_BYTES + 4)
  head.set(handle.bytes, ID_BYTES + 8)
  return head
}

function fileStem(ino: number, slot: string): string {
  return `${ino.toString(36)}.${slot}`
}

function fileName(ino: number, slot: string, id: Uint8Array): string {
  return `${fileStem(ino, slot)}.${Buffer.from(id).toString('hex')}`
}

function ownerKey(slot: string, id: Uint8Array): string {
  return `${slot}.${Buffer.from(id).toString('hex')}`
}

/** The `ownerKey` in the name of a file. */
function keyIn(file: string): string {
  return file.slice(file.indexOf('.') + 1)
}
