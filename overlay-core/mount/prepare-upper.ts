import { isErrno } from '../api/errno.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import { ACL_ACCESS, ACL_DEFAULT } from '../layer/acl.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import { INTENT_FILE_NAMES, IntentLog, type Restored, replayIntents } from '../layer/intent-log.ts'
import { type Layer, Real } from '../layer/layer.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import { noticesOf, probeStorage, type Storage } from '../layer/storage.ts'
import { markVolatile, openWorkDirectory, removeLeftovers } from '../layer/workdir.ts'
import { diskXattrs } from '../layer/xattr-store.ts'
import { absentIndex, INDEX, openIndexDirectory } from '../lookup/hardlink.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { finishOverwrites } from '../operations/overwrite-in-place.ts'
import { ProtocolDataStore } from '../sidecar/protocol-data-store.ts'
import { SIDECAR_FILE_NAMES } from '../sidecar/sidecar-log.ts'
import { XattrSidecar } from '../sidecar/xattr-sidecar.ts'
import { chmodAt } from '../sys/attr.ts'
import { readdirFd } from '../sys/dir.ts'
import { RENAME_NOREPLACE } from '../sys/flags.ts'
import { statfsFd, statxFd } from '../sys/stat.ts'
import { clearXattrs } from '../sys/xattr.ts'
import { deviceFormat } from '../whiteouts/device-format.ts'
import { fileFormat, whiteoutFor } from '../whiteouts/file-format.ts'
import { chooseFormat, recordFiles, recordsFiles } from '../whiteouts/format-record.ts'

/** What makes an upper usable: its work directory, and how its storage holds marks. */
export type PreparedUpper = Pick<
  SuperBlock,
  'work' | 'indexDir' | 'storage' | 'notices' | 'intents' | 'protocolData' | 'xattrStore'
>

/** For an overlay without an upper. */
export const NO_UPPER: PreparedUpper = {
  work: undefined,
  indexDir: undefined,
  storage: undefined,
  notices: [],
  intents: undefined,
  protocolData: undefined,
  xattrStore: diskXattrs,
}

/** The inputs of `prepareUpper`. */
export interface UpperContext {
  readonly descriptors: Descriptors
  readonly overlayXattrs: XattrNames
  /** Whether the server may change the owner of objects. */
  readonly privileged: boolean
  /** What is known of the file system of the upper, by the attribute that was tried. */
  readonly storages: Map<string, Storage>
  readonly newProtocolDataId: (lengthBytes: number) => Uint8Array
  /** Resources to close if the mount fails. */
  readonly opened: DisposableStack
}

/** The open workdir and the names in it. */
export interface OpenWorkdir {
  readonly fd: number
  readonly names: ReadonlySet<string>
}

/**
 * Creates the directories of the workdir, repairs what a crash left in the upper, empties the work directory, probes the abilities of the
 * storage, and chooses the format of marks: the recorded one if there is one. Must be called inside `Descriptors.run`.
 *
 * @throws OptionError the storage cannot hold marks in the requested format
 */
export async function prepareUpper(
  options: MountOptions,
  layer: Layer,
  { fd: workdirFd, names }: OpenWorkdir,
  context: UpperContext,
): Promise<PreparedUpper> {
  const { descriptors, overlayXattrs, opened } = context
  const workdir = new Real(layer, undefined, '', statxFd(workdirFd).ino)
  workdir.fd = workdirFd
  const usedBefore = names.has('work')
  const keepsSidecar = SIDECAR_FILE_NAMES.some((name) => names.has(name))
  const work = await openWorkDirectory(descriptors, layer, workdir, 'work')
  const workFd = await descriptors.of(work)
  const rootFd = layer.root.fd
  const restored = usedBefore ? await repair(workdirFd, workFd, rootFd, names) : []
  await clearInheritance(workFd)
  const presumed = async () =>
    usedBefore && !(await recordsFiles(rootFd, workdirFd)) && !keepsSidecar ? KERNEL_FORM : undefined
  const { found, isFull } = await lookAtStorage(workFd, context, presumed)
  const form = await chooseFormat(options.whiteouts, found, { rootFd, workdirFd, usedBefore })
  if (form === 'files') await recordFiles(rootFd, workdirFd, workFd)
  const place = { upper: layer.root, workdir, descriptors, prefix: overlayXattrs.prefix }
  const sidecar = !found.xattrs || keepsSidecar ? await XattrSidecar.open(place, restored) : undefined
  const storage = sidecar ? withSidecar(found, sidecar) : found
  const xattrStore = sidecar ?? diskXattrs
  opened.defer(() => xattrStore.close())
  // A storage without hard links, such as FAT, has made-up inode numbers.
  if (!storage.links) layer.inodeNumbers = sidecar
  const indexContext = { descriptors, overlayXattrs, xattrStore }
  const index = async () => (names.has(INDEX) ? await openIndexDirectory(indexContext, workdir) : absentIndex(workdir))
  const indexDir = options.index && storage.links ? await index() : undefined
  if (options.volatile) await markVolatile(workFd)
  const protocolData = ProtocolDataStore.in(descriptors, layer, workdir, {
    newId: context.newProtocolDataId,
    volatile: options.volatile,
  })
  layer.marks = form === 'files' ? fileFormat : deviceFormat
  const intents = form === 'files' ? await IntentLog.start(workdirFd) : undefined
  opened.defer(() => intents?.close())
  const notices = [
    ...noticesOf(storage, form, sidecar !== undefined),
    ...(isFull || (await hasNoBlocks(rootFd)) ? [FULL] : []),
  ]
  return { work, indexDir, storage, notices, intents, protocolData, xattrStore }
}

/** Repairs what a crash left, and empties the work directory. Returns the objects that were moved back from it. */
async function repair(
  workdirFd: number,
  workFd: number,
  rootFd: number,
  names: ReadonlySet<string>,
): Promise<Restored[]> {
  const hasIntents = INTENT_FILE_NAMES.some((name) => names.has(name))
  const restored = hasIntents ? await replayIntents(workdirFd, workFd, rootFd, whiteoutFor) : []
  if ((await readdirFd(workFd)).length > 0) {
    await finishOverwrites(workFd)
    await removeLeftovers(workFd)
  }
  return restored
}

/** The abilities of a storage with the sidecar, which stores attributes by name and therefore cannot follow an exchange of two names. */
function withSidecar(storage: Storage, sidecar: XattrSidecar): Storage {
  return { ...storage, exchange: false, owners: storage.owners && !sidecar.keepsOwners }
}

/** Temporary objects must inherit nothing, neither an ACL nor a group (ovl_workdir_create). */
async function clearInheritance(workFd: number): Promise<void> {
  await clearXattrs(workFd, [ACL_ACCESS, ACL_DEFAULT])
  if (statxFd(workFd).mode !== 0o700) await chmodAt(workFd, '', 0o700)
}

/** The abilities of a file system that has held an overlay in the kernel's format. */
export const KERNEL_FORM: Storage = {
  noReplace: RENAME_NOREPLACE,
  exchange: true,
  whiteoutDevices: true,
  xattrs: true,
  links: true,
  owners: true,
  loneTimes: true,
}
const FULL =
  'the file system of the upper is full: files can be read and removed; other changes fail until there is space'

async function hasNoBlocks(fd: number): Promise<boolean> {
  const { blocks, blocksAvailable } = await statfsFd(fd)
  return blocks > 0 && blocksAvailable === 0
}

/** @param presumed the abilities according to earlier records, used if there is no space to probe the storage */
async function lookAtStorage(
  workFd: number,
  { overlayXattrs: xattrs, privileged, storages }: UpperContext,
  presumed: () => Promise<Storage | undefined>,
): Promise<{ found: Storage; isFull: boolean }> {
  try {
    const known = storages.get(xattrs.opaque)
    const found = known ?? (await probeStorage(workFd, xattrs.opaque, privileged))
    storages.set(xattrs.opaque, found)
    return { found, isFull: false }
  } catch (error) {
    const known = isErrno(error, 'ENOSPC', 'EDQUOT') ? await presumed() : undefined
    if (known !== undefined) return { found: known, isFull: true }
    if (!isErrno(error, 'EPERM', 'EACCES')) throw error
    throw new OptionError(
      'upperdir',
      `this user cannot set ${xattrs.prefix}* attributes there; add userxattr, or run as root`,
    )
  }
}
