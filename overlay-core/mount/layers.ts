import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import type { MountOptions } from '../api/params.ts'
import { type Layer, Real } from '../layer/layer.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import { PathNumbers } from '../layer/path-numbers.ts'
import { nameToHandle } from '../sys/handle.ts'
import { isLocal } from '../sys/local.ts'
import { ABSENT, closeSync, openRootAgain } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import { listXattr } from '../sys/xattr.ts'
import { deviceFormat } from '../whiteouts/device-format.ts'
import { fileFormat } from '../whiteouts/file-format.ts'
import { saysFiles } from '../whiteouts/format-record.ts'
import { BTRFS, type FileSystem, instanceOf, lookAtFileSystems, type Root, unnumbered, XFS } from './file-systems.ts'
import { FROZEN_INDEX } from './frozen-place.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import type { KnownLayers, KnownRoot } from './known-layers.ts'
import type { TrustedLayer } from './link-trust.ts'
import type { LowerRoots, RootDir } from './roots.ts'

/** The layers of a stack. */
export interface Layers {
  readonly upper: Layer | undefined
  /** Topmost first. */
  readonly lowers: readonly Layer[]
  readonly data: readonly Layer[]
  /** Lowers and data-only layers, with their file systems. */
  readonly trusted: readonly TrustedLayer[]
  /** The file system of the upper. */
  readonly upperFileSystem: FileSystem | undefined
}

/**
 * Creates the layers of `roots`, and numbers their file systems. A layer of `present` for the same directory in the same role is reused
 * unchanged; `placeLayers` then updates its position.
 */
export async function makeLayers(
  roots: LowerRoots & { readonly upper: RootDir | undefined },
  options: MountOptions,
  xattrs: XattrNames,
  keeper: IdentityKeeper,
  { known, present = [] }: { readonly known: KnownLayers; readonly present?: readonly Layer[] },
): Promise<Layers> {
  const look = (root: RootDir): Root => {
    const stat = statxFd(root.fd)
    return { ...root, stat, device: `${stat.devMajor}:${stat.devMinor}` }
  }
  const upper = roots.upper && look(roots.upper)
  const [lowers, data] = [roots.lowers.map(look), roots.data.map(look)]
  const all = upper ? [upper, ...lowers, ...data] : [...lowers, ...data]
  const fileSystems = await lookAtFileSystems(all, keeper.exactMarks, known)
  const numbers = keeper.number([...fileSystems.values()].map(unnumbered))
  const looks = new Map<Root, Promise<KnownRoot>>()
  const lookAt = (root: Root) => known.root(root, () => lookAtRoot(root.fd, xattrs))
  for (const root of [...lowers, ...data]) looks.set(root, lookAt(root))
  const make = async (root: Root, isUpper: boolean, dataOnly: boolean): Promise<Layer> => {
    const about = (await looks.get(root)) ?? AN_UPPER
    const files = !isUpper && (options.lowerWhiteouts === 'files' || about.saysFiles)
    // A layer that other overlays use stays as it is.
    const same = present.find(
      (layer) =>
        layer.isUpper === isUpper &&
        layer.dataOnly === dataOnly &&
        (isUpper || (layer.descriptors === undefined && isSame(layer, root))),
    )
    if (same && (isUpper || same.marks === (files ? fileFormat : deviceFormat))) return same
    const fileSystem = fileSystems.get(root.device) as FileSystem
    const fsIndex = numbers.get(root.device) ?? 0
    const layer = makeLayer(root, { isUpper, dataOnly, fileSystem, fsIndex, keeper, wasUpper: about.wasUpper })
    if (files) layer.marks = fileFormat
    return layer
  }
  const made = {
    upper: upper && (await make(upper, true, false)),
    lowers: await Promise.all(lowers.map((root) => make(root, false, false))),
    data: await Promise.all(data.map((root) => make(root, false, true))),
  }
  await markFrozen(made.lowers, lowers, options.frozen ?? 0)
  const below = [...lowers, ...data]
  const trusted = [...made.lowers, ...made.data].map(async (layer, at) => {
    const root = below[at] as Root
    const { hasHandles } = (await looks.get(root)) as KnownRoot
    return { layer, path: root.path, fileSystem: fileSystems.get(root.device) as FileSystem, hasHandles }
  })
  return { ...made, trusted: await Promise.all(trusted), upperFileSystem: upper && fileSystems.get(upper.device) }
}

/** Only lowers are asked for these. */
const AN_UPPER: KnownRoot = { saysFiles: false, wasUpper: false, hasHandles: false }

async function lookAtRoot(fd: number, { prefix }: XattrNames): Promise<KnownRoot> {
  return {
    saysFiles: await saysFiles(fd),
    wasUpper: (await listXattr(fd, '')).some((name) => name.startsWith(prefix)),
    hasHandles: (await nameToHandle(fd, '')) !== undefined,
  }
}

/** Identifies these layers in this order. */
export function digestOf({ lowers, data }: Pick<Layers, 'lowers' | 'data'>): string {
  const roots = [...lowers, undefined, ...data].map((layer) => layer && `${layer.fsIndex}:${layer.root.ino}`)
  return createHash('sha256').update(roots.join('/')).digest('hex')
}

/** Records since when these are layers of the stack, in ms since the epoch; 0: they have never changed. */
export function noteStackChange(layers: Iterable<Layer>, sinceMs: number): void {
  const time =
    sinceMs === 0 ? undefined : { sec: Math.floor(sinceMs / 1000), nsec: Math.floor(sinceMs % 1000) * 1_000_000 }
  for (const layer of layers) layer.stackChanged = time
}

/** The frozen layers, which no other overlay has, and the layers below them. */
export function apartFrozen(layers: Layers): readonly [readonly Layer[], Layers] {
  const frozen = layers.lowers.filter((layer) => layer.frozen)
  return [frozen, { ...layers, lowers: layers.lowers.slice(frozen.length) }]
}

/** Sets the position of every layer in the stack: lowers count from 1, data-only layers follow; the frozen ones, which no other overlay has, end at 0. */
export function placeLayers({ lowers, data }: Pick<Layers, 'lowers' | 'data'>): void {
  const frozen = lowers.filter((layer) => layer.frozen).length
  for (const [at, layer] of [...lowers, ...data].entries()) layer.index = at + 1 - frozen
}

/** The index that was moved beside a frozen layer at `path`. */
async function frozenIndexOf(layer: Layer, path: string): Promise<Real | undefined> {
  const index = join(dirname(path), FROZEN_INDEX)
  const fd = await openRootAgain(index)
  if (fd === ABSENT) return undefined
  const { ino, devMajor, devMinor } = statxFd(fd)
  closeSync(fd)
  const real = new Real(layer, undefined, '', ino)
  real.place = { path: index, devMajor, devMinor }
  return real
}

/** Marks the topmost `count` of the lowers, with these roots, as frozen. */
async function markFrozen(lowers: readonly Layer[], roots: readonly Root[], count: number): Promise<void> {
  for (const [at, layer] of lowers.slice(0, count).entries()) {
    if (!layer.frozen) layer.frozenIndex = await frozenIndexOf(layer, (roots[at] as Root).path)
    layer.frozen = true
  }
}

function isSame(layer: Layer, root: Root): boolean {
  const stat = statxFd(layer.root.fd)
  return (
    layer.root.ino === root.stat.ino && stat.devMajor === root.stat.devMajor && stat.devMinor === root.stat.devMinor
  )
}

/** The parts of a layer besides its root. */
interface LayerParts {
  readonly isUpper: boolean
  readonly dataOnly: boolean
  readonly fileSystem: FileSystem
  readonly fsIndex: number
  readonly keeper: IdentityKeeper
  readonly wasUpper: boolean
}

function makeLayer(root: Root, parts: LayerParts): Layer {
  const { fd, stat } = root
  const { isUpper, dataOnly, fileSystem, fsIndex, keeper, wasUpper } = parts
  const layer = {
    index: 0,
    fsIndex,
    salt: keeper.isSalted(fsIndex) ? Math.imul(fsIndex + 1, 0x9e3779b1) : 0,
    isUpper,
    frozen: false,
    frozenIndex: undefined,
    dataOnly,
    fsUuid: fileSystem.uuid,
    local: isLocal(fileSystem.stat.type),
    joinsLinks: false,
    trustsOrigins: false,
    marksCopies: true,
    sharesInOrder: fileSystem.stat.type === XFS,
    hasAcls: fileSystem.acls,
    marks: deviceFormat,
    inodeNumbers: isUpper ? undefined : numbersByPath(fileSystem, () => instanceOf(root, keeper.session)),
    stackChanged: undefined,
    wasUpper,
    shared: root.shared,
    descriptors: undefined,
  } as { -readonly [K in keyof Layer]: Layer[K] }
  layer.root = new Real(layer, undefined, '', stat.ino)
  layer.root.fd = fd
  return layer
}

/** Inode numbers by path, for a lower whose objects have no stable numbers, or whose subvolumes use the same numbers. */
function numbersByPath({ numbersLast, device, stat }: FileSystem, instance: () => number): PathNumbers | undefined {
  if (!numbersLast) return new PathNumbers(instance())
  return stat.type === BTRFS ? new PathNumbers(instance(), device) : undefined
}
