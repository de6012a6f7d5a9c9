import { createHash } from 'node:crypto'
import { bootId } from '../sys/block-device.ts'
import { type FileSystemStat, type Stat, statfsFd } from '../sys/stat.ts'
import { fileSystemUuid } from '../sys/uuid.ts'
import { hasAcls } from '../sys/xattr.ts'
import type { KnownFileSystem } from './identity-file.ts'
import { IMAGES, markOnDisk } from './image-digest.ts'
import { exactMark, markOf, type UnnumberedFileSystem } from './numbering.ts'
import type { RootDir } from './roots.ts'

/** Magic numbers (statfs(2)). */
const EXT4 = 0xef53
export const XFS = 0x58465342
export const BTRFS = 0x9123683e
const TMPFS = 0x01021994
const F2FS = 0xf2f52010
const ZFS = 0x2fc12fc1

/** Those that keep an object's inode number for its life, and tell by its birth time whether a number was given to another one. */
const LASTING: ReadonlySet<number> = new Set([EXT4, XFS, BTRFS, TMPFS, F2FS, ZFS])

/** An opened root, looked at. */
export interface Root extends RootDir {
  readonly stat: Stat
  readonly device: string
}

/** A file system that layers lie on. */
export interface FileSystem {
  readonly device: string
  readonly stat: FileSystemStat
  readonly uuid: Uint8Array
  readonly acls: boolean
  readonly marks: string[]
  /** See `UnnumberedFileSystem`. */
  readonly exact: string | undefined
  /** The same for the parts of one file system that have device numbers of their own (subvolumes). */
  readonly whole: string
  /** Its inode numbers name objects from one mount to the next; else only paths do. Set by `lookAtFileSystems`, once all are known. */
  numbersLast: boolean
  /** Copies of its objects are led back to them by UUID and file handle alone, if nothing speaks against it: not with images that have no UUID. */
  readonly leadsBack: boolean
}

/** Looks at the file systems of `roots`, by device. What takes time to read is kept in `exactMarks`. */
export async function lookAtFileSystems(
  roots: readonly Root[],
  exactMarks: Map<string, string | undefined>,
): Promise<Map<string, FileSystem>> {
  const found = new Map<string, FileSystem>()
  for (const root of roots) {
    let fileSystem = found.get(root.device)
    if (!fileSystem) {
      fileSystem = await lookAt(root, exactMarks)
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
  // Every tmpfs has a UUID of its own, since Linux 6.0.
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
  // On these the number is that of the file system and its subvolume.
  if (type === BTRFS || type === ZFS) return exactMark(`fsid:${idHi}:${idLo}`)
  const mark = await markOnDisk(type, stat.devMajor, stat.devMinor)
  return mark === undefined ? undefined : exactMark(mark)
}

/** The first is that of earlier versions. */
function marksOf({ path, stat }: Root, fileSystem: FileSystemStat): string[] {
  const place = `${fileSystem.type.toString(16)}:${path}`
  return [...new Set([markOf(path, fileSystem, stat), place])]
}

/** Whether another one present has the UUID too, and nothing tells which is which. Two images of the same content are as good as one. */
function hasTwin(one: FileSystem, all: Iterable<FileSystem>): boolean {
  if (IMAGES.has(one.stat.type)) return false
  for (const other of all) {
    if (other === one || !isSame(other.uuid, one.uuid) || other.stat.type !== one.stat.type) continue
    if (other.exact === one.exact) return true
  }
  return false
}

/** Whether `known` is a subvolume of the same file system. */
export function isPartOf({ stat }: FileSystem, known: KnownFileSystem): boolean {
  return stat.type === BTRFS && known.marks.some((mark) => mark.startsWith(exactMark(`fsid:${stat.idHi}:`)))
}

/** For `numberFileSystems`. */
export function unnumbered({ device, uuid, marks, exact, stat }: FileSystem): UnnumberedFileSystem {
  return { device, uuid: hexOf(uuid), marks, exact, ...(stat.type === BTRFS && { formerUuid: '' }) }
}

/** A number for the mount of `root`, another one for every mount; where mounts cannot be told apart, for this process and `session`. */
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

/** Empty for the zeros of a file system that has none. */
export function hexOf(uuid: Uint8Array): string {
  return isNull(uuid) ? '' : Buffer.from(uuid).toString('hex')
}
