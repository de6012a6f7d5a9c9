import { randomBytes } from 'node:crypto'
import type { Clock } from '../api/clock.ts'
import { isErrno, isUnwritable } from '../api/errno.ts'
import type { Overlay, Stack } from '../api/overlay-api.ts'
import type { MountOptions } from '../api/params.ts'
import { newLock } from '../base/lock.ts'
import type { Quota } from '../base/quota.ts'
import { RemountBarrier } from '../base/remount-barrier.ts'
import { every } from '../base/ticks.ts'
import { copyUp } from '../copy-up/copy-up.ts'
import { Descriptors } from '../layer/descriptors.ts'
import type { Layer } from '../layer/layer.ts'
import { XattrNames } from '../layer/overlay-xattrs.ts'
import type { Storage } from '../layer/storage.ts'
import { Writeback } from '../layer/writeback.ts'
import type { XattrStore } from '../layer/xattr-store.ts'
import { indexNames } from '../lookup/hardlink.ts'
import { lookupDentry } from '../lookup/namei.ts'
import { namelessInode } from '../lookup/nameless-inode.ts'
import { revalidateInode } from '../lookup/revalidate-inode.ts'
import { Charges } from '../objects/charges.ts'
import { DentryCache } from '../objects/dcache.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { Durability } from '../objects/durability.ts'
import { FileCache } from '../objects/file-cache.ts'
import { type Finder, HandleTable } from '../objects/handle.ts'
import { HandleStore } from '../objects/handle-store.ts'
import { getattr, getattrLocked } from '../objects/inode.ts'
import { ListingCache } from '../objects/listing.ts'
import { NamelessObjects } from '../objects/nameless.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { PROTOCOL_DATA_DIRECTORY } from '../sidecar/protocol-data-store.ts'
import { actsAsRoot } from '../sys/capabilities.ts'
import { setUmask0 } from '../sys/process.ts'
import { getXattr, setXattrElsewhere } from '../sys/xattr.ts'
import { adoptMerge, squashLayers } from './adopt-merge.ts'
import { type Budgets, processBudgets } from './budgets.ts'
import { freeze } from './freeze.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import { KnownLayers } from './known-layers.ts'
import { apartFrozen, digestOf, type Layers, makeLayers, noteStackChange, placeLayers } from './layers.ts'
import { decideTrust } from './link-trust.ts'
import { type Memory, openMemory } from './memory.ts'
import { MountedOverlay } from './overlay.ts'
import { NO_UPPER, type PreparedUpper, type UpperContext } from './prepare-upper.ts'
import { prepareUpperOrServe } from './read-only-upper.ts'
import { Recounter } from './recount.ts'
import { leaveStack, type Present, remount } from './remount.ts'
import { makeRoot, prepareRoot } from './root.ts'
import { closeRoots, openRoots, type Roots } from './roots.ts'
import { serverRights } from './server-rights.ts'
import { digestOfRoots } from './sharing.ts'
import { type LowerStack, lowersOf } from './stack.ts'
import type { Common } from './stack-memory.ts'
import type { Mounting } from './unmount.ts'
import { WorkdirAccess } from './workdir-access.ts'

/** The injected dependencies of a mount, and the limits of its caches. */
export interface MountEnvironment {
  readonly clock: Clock
  /** The time of day, in ms since the epoch. */
  readonly wallClockMs: () => number
  /** Unpredictable bytes for the identity of a new overlay. */
  readonly randomBytes: (length: number) => Uint8Array
  /** A private directory in which an overlay without an upper stores data that must survive a restart. */
  readonly handleDirectory: string | undefined
  /** The limits shared with other overlays; by default all overlays of the process share them. */
  readonly budgets: Budgets
  /** The lowers, which other overlays use too (`openStack`); undefined: they are opened for this overlay alone. */
  readonly stack: Stack | undefined
  /**
   * Whether the caller has claimed a directory that contains upper and workdir, and lets nobody else use or move them. They are then not claimed, and
   * their descriptors may be closed while nobody uses them.
   */
  readonly claimed: boolean
  /** Makes the directories above upper and workdir durable, before the first promise that something in the upper is; undefined if they are. */
  readonly settlePlace: () => Promise<void> | undefined
  /** Limits and counts what the upper contains. */
  readonly quota: Quota | undefined
  /** Maximum number of names in the dentry cache. */
  readonly dentryLimit: number
  /** Maximum number of entries in cached listings. */
  readonly listingLimit: number
  /** Maximum number of open real files. */
  readonly fileLimit: number
  /** How long an unused real file stays open, in milliseconds. */
  readonly fileIdleMs: number
}

const systemClock: Clock = {
  now: () => performance.now(),
  every,
}

const DEFAULTS: Omit<MountEnvironment, 'budgets'> = {
  clock: systemClock,
  wallClockMs: Date.now,
  randomBytes,
  handleDirectory: undefined,
  stack: undefined,
  claimed: false,
  settlePlace: () => undefined,
  quota: undefined,
  dentryLimit: 100_000,
  listingLimit: 400_000,
  fileLimit: 4096,
  fileIdleMs: 60_000,
}

/**
 * Opens the layers, claims upper and workdir, cleans the workdir and returns the overlay.
 *
 * @throws OptionError a directory is missing, unreadable, nested or busy (names the option; nothing was created)
 */
export async function mount(options: MountOptions, environment: Partial<MountEnvironment> = {}): Promise<Overlay> {
  const given = { ...DEFAULTS, budgets: processBudgets(), ...environment }
  setUmask0()
  using opened = new DisposableStack()
  const stack = stackOf(given)
  stack?.enter(options)
  opened.defer(() => stack?.leave())
  const roots = await openRoots(options, given.claimed, stack)
  opened.defer(() => closeRoots(roots))
  const overlay = await assemble(options, given, roots, opened)
  // From here on, the overlay owns everything that was opened.
  opened.move()
  return overlay
}

/** @param opened resources to close if the mount fails later */
async function assemble(
  options: MountOptions,
  given: MountEnvironment,
  roots: Roots,
  opened: DisposableStack,
): Promise<Overlay> {
  const workdir = new WorkdirAccess(roots)
  const memory = await openMemory(roots, workdir.within, given.randomBytes(16), given.handleDirectory)
  const { keeper } = memory
  opened.defer(() => memory.handleFile.close())
  const privileged = actsAsRoot()
  const overlayXattrs = new XattrNames(options.userxattr, !privileged)
  const { layers, known, common } = await placedLayers(roots, options, overlayXattrs, keeper, given)
  const descriptors = Descriptors.onStack(given.budgets.directories, stackOf(given)?.calls)
  opened.defer(() => descriptors.closeAll())
  const dcache = new DentryCache(given.dentryLimit, given.budgets.names)
  const storages = roots.upper ? known.storages(roots.upper) : new Map<string, Storage>()
  const context = { descriptors, overlayXattrs, privileged, newProtocolDataId: given.randomBytes, opened, storages }
  const prepared = await prepare(options, layers.upper, roots, context)
  const parts = { ...memory, common, layers, descriptors, dcache, xattrStore: prepared.xattrStore }
  const notices = await noticesFor(layers, prepared, descriptors, keeper)
  const rights = serverRights(prepared.storage)
  const uuid = await overlayUuid(options, layers, overlayXattrs, given, keeper)
  const view = { options, ...prepared, ...rights, uuid }
  const { endSharing, ...lowers } = lowersOf(stackOf(given), common, layers, view, given.budgets)
  opened.defer(endSharing)
  let temps = 0
  const sb: SuperBlock = {
    options,
    stackVersion: 1,
    readOnly: options.readOnly || prepared.work === undefined,
    barrier: new RemountBarrier(),
    clock: given.clock,
    wallClockMs: given.wallClockMs,
    uuid,
    upper: layers.upper,
    ...lowers,
    ...prepared,
    ...notices,
    overlayXattrs: new XattrNames(options.userxattr, !privileged || prepared.storage?.owners === false),
    root: makeRoot({ ...lowers, upper: layers.upper }, keeper),
    dcache,
    descriptors,
    ...services(parts, given, () => sb),
    listings: new ListingCache(given.listingLimit, given.budgets.listings, lowers.cookieSeed),
    nameless: new NamelessObjects(descriptors),
    renameLock: newLock('shape'),
    writeback: new Writeback(given.clock),
    copies: new Set(),
    ...rights,
    tempName: () => `#${(temps++).toString(16)}`,
  }
  if (roots.workNames.has(PROTOCOL_DATA_DIRECTORY)) await sb.protocolData?.load(sb.xattrStore, overlayXattrs)
  await prepareRoot(sb)
  await saveOrEnd(sb, keeper, given)
  const present = given.claimed ? workdir.release(sb, roots) : roots
  return new MountedOverlay(sb, mountingOf(sb, { roots: present, layers }, { keeper, workdir }, given, endSharing))
}

/** The services of an overlay that work with each other. They get the superblock only for what calls upon all of it. */
function services(
  { handleFile, keeper, common, layers, descriptors, dcache, xattrStore }: Parts,
  { fileLimit, fileIdleMs, clock, budgets, quota, settlePlace }: MountEnvironment,
  superBlock: () => SuperBlock,
): Pick<SuperBlock, 'files' | 'handles' | 'durability' | 'charges'> {
  const readAttributes = (inode: OvlInode, locked: boolean) =>
    locked ? getattrLocked(superBlock(), inode) : getattr(superBlock(), inode)
  const charges = quota && layers.upper ? new Charges(quota, readAttributes) : undefined
  const files = new FileCache({
    ...{ limit: fileLimit, budget: budgets.files, idleMs: fileIdleMs, clock, descriptors, charges },
    copyUp: (inode) => copyUp(superBlock(), inode, 'open'),
  })
  // Before records of the overlay are dropped because the stack has them, the stack's are durable.
  const own = new HandleStore(handleFile, clock, async () => await handles.settleShared())
  const handles: HandleTable = new HandleTable(dcache, finderFor(superBlock), own, common?.handles)
  const durability = new Durability({
    ...{ xattrStore, handles, descriptors, files, settlePlace },
    upper: () => superBlock().upper,
    isVolatile: () => superBlock().options.volatile,
    identityDurable: () => keeper.makeDurable(),
  })
  return { files, handles, durability, charges }
}

/** What the services of an overlay consist of. */
interface Parts extends Memory {
  readonly common: Common | undefined
  readonly layers: Layers
  readonly descriptors: Descriptors
  readonly dcache: DentryCache
  readonly xattrStore: XattrStore
}

/**
 * Makes the identities durable. If that is not possible, this overlay gets a different identity from that of the next start, so that handles of this run
 * cannot refer to other objects then.
 */
async function saveOrEnd(sb: SuperBlock, keeper: IdentityKeeper, given: MountEnvironment): Promise<void> {
  try {
    await keeper.save(sb.upper !== undefined)
  } catch (error) {
    if (!isUnwritable(error)) throw error
    sb.uuid = given.randomBytes(16)
    const notice =
      'cannot save file identities in the workdir: NFS handles are valid for this run only, and earlier ones are stale'
    sb.notices = [...sb.notices, notice]
  }
}

async function prepare(
  options: MountOptions,
  upper: Layer | undefined,
  { work, workNames: names }: Roots,
  context: UpperContext,
): Promise<PreparedUpper> {
  if (!upper || !work) return NO_UPPER
  const { fd } = work
  return await context.descriptors.run(() => prepareUpperOrServe(options, upper, { fd, names }, context))
}

function stackOf({ stack }: MountEnvironment): LowerStack | undefined {
  return stack as LowerStack | undefined
}

/** The notices about the storage of upper and lowers, after the decision how far the lowers are trusted. */
async function noticesFor(
  layers: Layers,
  { indexDir, notices }: Pick<SuperBlock, 'indexDir' | 'notices'>,
  descriptors: Descriptors,
  keeper: IdentityKeeper,
): Promise<Pick<SuperBlock, 'notices' | 'storageNotices'>> {
  const ofLowers = decideTrust(layers.trusted, () => true, await indexNames(descriptors, indexDir), keeper)
  return { storageNotices: notices, notices: [...notices, ...ofLowers] }
}

async function placedLayers(
  roots: Roots,
  options: MountOptions,
  xattrs: XattrNames,
  keeper: IdentityKeeper,
  given: MountEnvironment,
): Promise<{ layers: Layers; known: KnownLayers; common: Common | undefined }> {
  const { memory, known = new KnownLayers() } = stackOf(given) ?? {}
  memory?.numbersFor(keeper)
  const layers = await makeLayers(roots, options, xattrs, keeper, { known })
  placeLayers(layers)
  const nowMs = given.wallClockMs()
  const sinceMs = keeper.stackSinceMs(digestOf(layers), nowMs)
  const [frozen, below] = apartFrozen(layers)
  const common = await memory?.join(keeper, below, { sinceMs, nowMs })
  noteStackChange(layers.upper ? [layers.upper, ...frozen] : frozen, sinceMs)
  // The same for all overlays on the stack, so that they can share the lowers.
  noteStackChange([...below.lowers, ...below.data], common?.sinceMs ?? sinceMs)
  return { layers, known, common }
}

function mountingOf(
  sb: SuperBlock,
  mounted: Pick<Present, 'roots' | 'layers'>,
  { keeper, workdir }: { readonly keeper: IdentityKeeper; readonly workdir: WorkdirAccess },
  given: MountEnvironment,
  endSharing: () => void,
): Mounting {
  const stack = stackOf(given)
  let present: Present = { ...mounted, stack, endSharing }
  const recounter = new Recounter(sb)
  const partsFor = (to: Stack | undefined) => ({
    memory: { keeper, nowMs: given.wallClockMs(), ofStacks: stack?.memory },
    stack: to as LowerStack | undefined,
    budgets: given.budgets,
  })
  return {
    remount: async (options, to) => {
      present = await remount(sb, present, partsFor(to), options)
    },
    freeze: async (directory, options, prepared) => {
      const parts = { ...partsFor(undefined), workdir }
      const { frozen, durable } = await freeze(sb, present, parts, { directory, options, prepared })
      present = frozen
      await durable
    },
    squash: (paths, isMounted) => squashLayers(sb, present, paths, isMounted),
    adopt: async (merge, from, to, options, stack) => {
      present = await adoptMerge(sb, present, partsFor(stack), { merge, from, to }, options)
    },
    settle: () => recounter.end(),
    close: () => {
      sb.intents?.close()
      sb.xattrStore.close()
      closeRoots(present.roots)
      leaveStack(present)
    },
  }
}

function finderFor(superBlock: () => SuperBlock): Finder {
  return {
    root: () => superBlock().root,
    lookup: (dir, name) => lookupInode(superBlock(), dir, name),
    nameless: (record, what) => namelessInode(superBlock(), record, what),
  }
}

async function lookupInode(sb: SuperBlock, dir: OvlInode, name: string): Promise<OvlInode | undefined> {
  await revalidateInode(sb, dir)
  return (await lookupDentry(sb, dir, name)).inode
}

/**
 * The overlay's own identity: `overlay.uuid` of the upper root, created on the first mount like the kernel does with uuid=on. If it cannot be
 * stored, it is derived from the topmost root.
 */
async function overlayUuid(
  options: MountOptions,
  layers: Layers,
  xattrs: XattrNames,
  given: MountEnvironment,
  keeper: IdentityKeeper,
): Promise<Uint8Array> {
  const keeps = layers.upper && (options.uuid === 'on' || options.uuid === 'auto')
  if (layers.upper && keeps) {
    const { fd } = layers.upper.root
    const present = await getXattr(fd, '', xattrs.uuid)
    if (present?.length === 16) return present
    const fresh = given.randomBytes(16)
    try {
      await setXattrElsewhere(fd, xattrs.uuid, fresh)
      return fresh
    } catch (error) {
      if (!isErrno(error, 'EOPNOTSUPP', 'EPERM') && !isUnwritable(error)) throw error
    }
  }
  const derived = digestOfRoots(layers.upper ? [layers.upper] : layers.lowers)
  return layers.upper ? derived : keeper.uuid(derived)
}
