import { createHash } from 'node:crypto'
import { bootId } from '../sys/block-device.ts'
import { type FileSystemStat, type Stat, statfsFd } from '../sys/stat.ts'
import { fileSystemUuid } from '../sys/uuid.ts'
import { hasAcls } from '../sys/xattr.ts'
import type { KnownFileSystem } from './identity-file.ts'
import { IMAGES, markOnDisk } from './image-digest.ts'
import type { KnownLayers } from './known-layers.ts'
import { exactMark, markOf, type UnnumberedFileSystem } from './numbering.ts'
import type { RootDir } from './roots.ts'

/** Magic numbers (statfs(2)). */
const EXT4 = 0xef53
export const XFS = 0x58465342
export const BTRFS = 0x9123683e
const TMPFS = 0x01021994
const F2FS = 0xf2f52010
const ZFS = 0x2fc12fc1

/** File systems that keep an object's inode number for its lifetime, and whose birth time shows whether a number was reused. */
const LASTING: ReadonlySet<number> = new Set([EXT4, XFS, BTRFS, TMPFS, F2FS, ZFS])

/** The opened root directory of a layer, with its attributes. */
export interface Root extends RootDir {
  readonly stat: Stat
  readonly device: string
}

/** A file system that holds layers. */
export interface FileSystem {
  readonly device: string
  readonly stat: FileSystemStat
  readonly uuid: Uint8Array
  readonly acls: boolean
  readonly marks: string[]
  /** See `UnnumberedFileSystem`. */
  readonly exact: string | undefined
  /** Like `device`, but shared by the subvolumes of one file system, which have device numbers of their own. */
  readonly whole: string
  /** Whether its inode numbers identify objects across mounts; otherwise only paths do. `lookAtFileSystems` sets it once all file systems are known. */
  numbersLast: boolean
  /** Whether UUID and file handle alone can lead a copy back to its original, unless something speaks against it. False for images without a UUID. */
  readonly leadsBack: boolean
}

/** Examines the file systems of `roots` that are not known, by device. Caches in `exactMarks` what is slow to read. */
export async function lookAtFileSystems(
  roots: readonly Root[],
  exactMarks: Map<string, string | undefined>,
  known: KnownLayers,
): Promise<Map<string, FileSystem>> {
  const found = new Map<string, FileSystem>()
  for (const root of roots) {
    let fileSystem = found.get(root.device)
    if (!fileSystem) {
      fileSystem = known.fileSystem(root) ?? (await lookAt(root, exactMarks))
      known.addFileSystem(root, fileSystem)
      found.set(root.device, fileSystem)
    }
    fileSystem.marks.push(...marksOf(root, fileSystem.stat))
  }
  for (const one of found.values()) one.numbersLast &&= !hasTwin(one, found.values())
  return found
}

async function lookAt(root: Root, exactMarks: Map<string, string | undefined>): Promise<FileSystem> {
  const { fd, stat, device, mount } = root
  const uuid = await fileSystemUuid(fd)
  const fileSystem = await statfsFd(fd)
  const { type } = fileSystem
  const seen = mount === undefined ? undefined : `${device} ${mount}`
  const exact = seen !== undefined && exactMarks.has(seen) ? exactMarks.get(seen) : await exactMarkOf(fileSystem, stat)
  if (seen !== undefined) exactMarks.set(seen, exact)
  // Since Linux 6.0 every tmpfs has its own UUID.
  const lasts = LASTING.has(type) && stat.btime !== undefined && (type !== TMPFS || !isNull(uuid))
  const numbersLast = IMAGES.has(type) ? exact !== undefined : lasts
  const whole = type === BTRFS ? `btrfs ${fileSystem.idHi}` : device
  return {
    device,
    stat: fileSystem,
    uuid,
    acls: await hasAcls(fd),
    marks: [],
    exact,
    whole,
    numbersLast,
    leadsBack: LASTING.has(type) || !isNull(uuid),
  }
}

async function exactMarkOf({ type, idHi, idLo }: FileSystemStat, stat: Stat): Promise<string | undefined> {
  // On these file systems the fsid identifies the file system and the subvolume.
  if (type === BTRFS || type === ZFS) return exactMark(`fsid:${idHi}:${idLo}`)
  const mark = await markOnDisk(type, stat.devMajor, stat.devMinor)
  return mark === undefined ? undefined : exactMark(mark)
}

/** The first mark is the one that earlier versions used. */
function marksOf({ path, stat }: Root, fileSystem: FileSystemStat): string[] {
  const place = `${fileSystem.type.toString(16)}:${path}`
  return [...new Set([markOf(path, fileSystem, stat), place])]
}

/** Whether another file system in `all` has the same UUID and nothing distinguishes the two. Images with the same content are interchangeable. */
function hasTwin(one: FileSystem, all: Iterable<FileSystem>): boolean {
  if (IMAGES.has(one.stat.type)) return false
  for (const other of all) {
    if (other === one || !isSame(other.uuid, one.uuid) || other.stat.type !== one.stat.type) continue
    if (other.exact === one.exact) return true
  }
  return false
}

/** Whether `known` is a subvolume of the same btrfs file system. */
export function isPartOf({ stat }: FileSystem, known: KnownFileSystem): boolean {
  return stat.type === BTRFS && known.marks.some((mark) => mark.startsWith(exactMark(`fsid:${stat.idHi}:`)))
}

/** The input of `numberFileSystems` for a file system. */
export function unnumbered({ device, uuid, marks, exact, stat }: FileSystem): UnnumberedFileSystem {
  return { device, uuid: hexOf(uuid), marks, exact, ...(stat.type === BTRFS && { formerUuid: '' }) }
}

/** A number that identifies the mount of `root`; if mounts cannot be distinguished, it identifies this process (`session`) and the path. */
export function instanceOf({ mount, path }: RootDir, session: string): number {
  const text = mount === undefined ? `${session} ${path}` : `${bootId()} ${mount}`
  return createHash('sha256').update(text).digest().readUInt32LE(0)
}

export function isNull(uuid: Uint8Array): boolean {
  return uuid.every((byte) => byte === 0)
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** Encodes a UUID in hex; empty if it is all zeros, because the file system has none. */
export function hexOf(uuid: Uint8Array): string {
  return isNull(uuid) ? '' : Buffer.from(uuid).toString('hex')
}
