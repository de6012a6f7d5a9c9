import { createHash } from 'node:crypto'
import type { MountOptions } from '../api/params.ts'
import { type Layer, Real } from '../layer/layer.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import { type FileSystemStat, type Stat, statfsFd, statxFd } from '../sys/stat.ts'
import { fileSystemUuid } from '../sys/uuid.ts'
import { hasAcls, listXattr } from '../sys/xattr.ts'
import { deviceFormat } from '../whiteouts/device-format.ts'
import { fileFormat } from '../whiteouts/file-format.ts'
import { saysFiles } from '../whiteouts/format-record.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import { markOf } from './numbering.ts'
import type { LowerRoots, RootDir } from './roots.ts'

/** Of the file systems that share blocks, in what they do at fsync of a directory, xfs is known to be in order, and btrfs is known not to be. */
const XFS = 0x58465342
/** Magic numbers (statfs(2)) of file systems that look a cached name up without asking anybody. */
const LOCAL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  XFS,
  0x9123683e, // btrfs
  0x01021994, // tmpfs
  0x858458f6, // ramfs
  0x2fc12fc1, // zfs
  0xf2f52010, // f2fs
  0xca451a4e, // bcachefs
  0x794c7630, // overlay
  0x73717368, // squashfs
  0xe0f5e1e2, // erofs
  0x9660, // iso9660
])

/** The layers of a stack. */
export interface Layers {
  readonly upper: Layer | undefined
  /** Topmost first. */
  readonly lowers: readonly Layer[]
  readonly data: readonly Layer[]
}

/** An opened root, looked at. */
interface Root extends RootDir {
  readonly stat: Stat
  readonly device: string
}

interface FileSystem {
  readonly device: string
  readonly stat: FileSystemStat
  readonly uuid: Uint8Array
  readonly acls: boolean
  readonly marks: string[]
}

/**
 * Makes the layers of `roots`, numbers them and their file systems. A layer of `present` that is the same directory in the same role is taken
 * over as it is, with its place of before: `place` gives it the new one.
 */
export async function makeLayers(
  roots: LowerRoots & { readonly upper: RootDir | undefined },
  options: MountOptions,
  xattrs: XattrNames,
  keeper: IdentityKeeper,
  present: readonly Layer[] = [],
): Promise<Layers> {
  const look = (root: RootDir): Root => {
    const stat = statxFd(root.fd)
    return { ...root, stat, device: `${stat.devMajor}:${stat.devMinor}` }
  }
  const upper = roots.upper && look(roots.upper)
  const lowers = roots.lowers.map(look)
  const data = roots.data.map(look)
  const fileSystems = await lookAtFileSystems(upper ? [upper, ...lowers, ...data] : [...lowers, ...data])
  const numbers = keeper.number(
    [...fileSystems.values()].map(({ device, uuid, marks }) => ({ device, uuid: hexOf(uuid), marks })),
  )
  const make = async (root: Root, isUpper: boolean, dataOnly: boolean): Promise<Layer> => {
    const files = !isUpper && (options.lowerWhiteouts === 'files' || (await saysFiles(root.fd)))
    const same = present.find(
      (layer) => layer.isUpper === isUpper && layer.dataOnly === dataOnly && isSame(layer, root),
    )
    if (same && (isUpper || same.marks === (files ? fileFormat : deviceFormat))) return same
    const fileSystem = fileSystems.get(root.device) as FileSystem
    const layer = await makeLayer(root, isUpper, dataOnly, fileSystem, numbers.get(root.device) ?? 0, xattrs)
    if (files) layer.marks = fileFormat
    return layer
  }
  return {
    upper: upper && (await make(upper, true, false)),
    lowers: await Promise.all(lowers.map((root) => make(root, false, false))),
    data: await Promise.all(data.map((root) => make(root, false, true))),
  }
}

/** What tells these layers in this order from others. */
export function digestOf({ lowers, data }: Layers): string {
  const roots = [...lowers, undefined, ...data].map((layer) => layer && `${layer.fsIndex}:${layer.root.ino}`)
  return createHash('sha256').update(roots.join('/')).digest('hex')
}

/** Notes when these became the layers of the stack, in ms of the epoch; 0: they always were. */
export function noteStackChange({ upper, lowers, data }: Layers, sinceMs: number): void {
  const time =
    sinceMs === 0 ? undefined : { sec: Math.floor(sinceMs / 1000), nsec: Math.floor(sinceMs % 1000) * 1_000_000 }
  for (const layer of upper ? [upper, ...lowers, ...data] : [...lowers, ...data]) layer.stackChanged = time
}

/** Gives every layer its place in the stack: lowers count from 1, data-only ones after them. */
export function placeLayers({ lowers, data }: Layers): void {
  for (const [at, layer] of [...lowers, ...data].entries()) layer.index = at + 1
}

function isSame(layer: Layer, root: Root): boolean {
  const stat = statxFd(layer.root.fd)
  return (
    layer.root.ino === root.stat.ino && stat.devMajor === root.stat.devMajor && stat.devMinor === root.stat.devMinor
  )
}

async function lookAtFileSystems(roots: readonly Root[]): Promise<Map<string, FileSystem>> {
  const found = new Map<string, FileSystem>()
  for (const { path, fd, stat, device } of roots) {
    let fileSystem = found.get(device)
    if (!fileSystem) {
      const uuid = await fileSystemUuid(fd)
      fileSystem = { device, stat: await statfsFd(fd), uuid, acls: await hasAcls(fd), marks: [] }
      found.set(device, fileSystem)
    }
    fileSystem.marks.push(markOf(path, fileSystem.stat, stat))
  }
  return found
}

async function makeLayer(
  { fd, stat }: Root,
  isUpper: boolean,
  dataOnly: boolean,
  fileSystem: FileSystem,
  fsIndex: number,
  xattrs: XattrNames,
): Promise<Layer> {
  const layer = {
    index: 0,
    fsIndex,
    isUpper,
    dataOnly,
    fsUuid: fileSystem.uuid,
    local: LOCAL_FILE_SYSTEMS.has(fileSystem.stat.type),
    sharesInOrder: fileSystem.stat.type === XFS,
    hasAcls: fileSystem.acls,
    marks: deviceFormat,
    inodeNumbers: undefined,
    stackChanged: undefined,
    wasUpper: (await listXattr(fd, '')).some((name) => name.startsWith(xattrs.prefix)),
  } as { -readonly [K in keyof Layer]: Layer[K] }
  layer.root = new Real(layer, undefined, '', stat.ino)
  layer.root.fd = fd
  return layer
}

/** Empty for the zeros of a file system that has none. */
function hexOf(uuid: Uint8Array): string {
  return uuid.every((byte) => byte === 0) ? '' : Buffer.from(uuid).toString('hex')
}
