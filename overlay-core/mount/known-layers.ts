import type { Storage } from '../layer/storage.ts'
import { isLocal } from '../sys/local.ts'
import type { FileSystem, Root } from './file-systems.ts'
import type { RootDir } from './roots.ts'

/** What a mount must know of the root of a lower. */
export interface KnownRoot {
  /** Whether a record in it says that its whiteouts are files. */
  readonly saysFiles: boolean
  /** Whether it carries marks of an overlay. */
  readonly wasUpper: boolean
  /** Whether its file system has file handles. */
  readonly hasHandles: boolean
}

/** What was learned of lowers and of the file systems of uppers, for later mounts on the same stack. Nothing of it changes while they are mounted. */
export class KnownLayers {
  /** By descriptor, which the stack keeps open. */
  readonly #roots = new Map<number, Promise<KnownRoot>>()
  readonly #fileSystems = new Map<string, FileSystem>()
  /** By the mount of the upper. */
  readonly #storages = new Map<string, Map<string, Storage>>()

  /** The root of a lower; `look` examines it if it belongs to no stack or is new. */
  root(root: Root, look: () => Promise<KnownRoot>): Promise<KnownRoot> {
    const known = this.#roots.get(root.fd)
    if (known !== undefined) return known
    const looking = look()
    if (!root.shared) return looking
    this.#roots.set(root.fd, looking)
    looking.catch(() => this.#roots.delete(root.fd))
    return looking
  }

  /** A copy of the file system of `root`, with no marks yet; undefined if it is new. */
  fileSystem(root: Root): FileSystem | undefined {
    const key = keyOf(root)
    const known = key === undefined ? undefined : this.#fileSystems.get(key)
    return known && { ...known, marks: [] }
  }

  /** @param fileSystem before it was compared with others */
  addFileSystem(root: Root, fileSystem: FileSystem): void {
    const key = keyOf(root)
    if (key !== undefined) this.#fileSystems.set(key, { ...fileSystem, marks: [] })
  }

  /** Whether the file system of `device`, reached through `mount`, is known and asks nobody else to answer. */
  isLocal(device: string, mount: string): boolean {
    const known = this.#fileSystems.get(`${device} ${mount}`)
    return known !== undefined && isLocal(known.stat.type)
  }

  /** The abilities of the file system of the upper `root` for this process, by the attribute that was tried. */
  storages(root: RootDir): Map<string, Storage> {
    const { mount } = root
    const known = (mount !== undefined && this.#storages.get(mount)) || new Map<string, Storage>()
    if (mount !== undefined) this.#storages.set(mount, known)
    return known
  }
}

/** Undefined if mounts cannot be distinguished. */
function keyOf({ device, mount }: Root): string | undefined {
  return mount === undefined ? undefined : `${device} ${mount}`
}
