import { isErrno } from '../api/errno.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import type { Layer, Real } from '../layer/layer.ts'
import { markVolatile } from '../layer/workdir.ts'
import { indexNames, openIndexDirectory } from '../lookup/hardlink.ts'
import { readMarks } from '../lookup/marks.ts'
import { knownRights } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { versionOf } from '../stack/lower-real.ts'
import type { LowerBudgets } from '../stack/shared-lowers.ts'
import { closeLater } from '../sys/open.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import { KnownLayers } from './known-layers.ts'
import { apartFrozen, digestOf, type Layers, makeLayers, noteStackChange, placeLayers } from './layers.ts'
import { decideTrust } from './link-trust.ts'
import { closeLowers, type LowerRoots, openLowers, type Roots } from './roots.ts'
import type { LowerStack } from './stack.ts'
import type { Common, CommonMemory } from './stack-memory.ts'

/** How many times a remount waits for running copy-ups before it closes the barrier; later copy-ups wait for the new stack. */
const PATIENCE = 3

function isFrozen({ frozen }: Layer): boolean {
  return frozen
}

/** The open directories and layers of an overlay, and with whom it shares its lowers. */
export interface Present {
  readonly roots: Roots
  readonly layers: Layers
  /** The stack that it has entered. */
  readonly stack: LowerStack | undefined
  /** Ends sharing what is known of the lowers. */
  endSharing(): void
}

/** Directories that get the paths in the options only when the stack changes. */
export interface Exchange {
  /** Where the lower of `path` is before. */
  before(path: string): string
  /** Makes the exchange. No call is running. */
  now(layers: Layers): Promise<void>
}

/** What a remount needs besides the overlay. */
export interface RemountParts {
  readonly memory: {
    readonly keeper: IdentityKeeper
    readonly nowMs: number
    /** That of the stack on which the overlay was mounted. */
    readonly ofStacks: CommonMemory | undefined
  }
  /** The stack with the new lowers, which other overlays use too; undefined: they are opened for this overlay alone. */
  readonly stack: LowerStack | undefined
  readonly budgets: LowerBudgets
}

/**
 * Gives a mounted overlay the layers and options of `options`, in one step between two calls: running calls end on the old stack, later ones
 * see the new one. Layers in both stacks that no other overlay uses remain the same `Layer` objects, so cached identities stay valid. Before that step everything
 * is only prepared; if something is wrong, the overlay continues with the old stack.
 *
 * @param present upper and workdir stay; everything else that is no longer used is closed
 * @param exchange what happens on disk in the same step
 * @throws OptionError an option that cannot change was changed, or a directory is missing, unreadable or nested
 */
export async function remount(
  sb: SuperBlock,
  present: Present,
  parts: RemountParts,
  options: MountOptions,
  exchange?: Exchange,
): Promise<Present> {
  const { stack, memory } = parts
  const { roots } = present
  checkChanges(sb.options, options)
  if (stack && stack.memory !== memory.ofStacks)
    throw new OptionError('lowerdir', 'the stack has another memory than that of the mount; open it with the same one')
  using opened = new DisposableStack()
  stack?.enter(options)
  opened.defer(() => stack?.leave())
  const prepared = exchange ? { ...options, lowerdir: options.lowerdir.map(exchange.before) } : options
  const ready = await sb.descriptors.run(async () => prepare(sb, await ownRoots(sb, roots), parts, prepared))
  opened.defer(ready.endSharing)
  for (let round = 0; round < PATIENCE && sb.copies.size > 0; round++) await Promise.allSettled([...sb.copies])
  await sb.barrier.alone(async () => {
    await exchange?.now(ready.layers)
    changeStack(sb, options, ready, memory.nowMs)
  })
  opened.move()
  // What runs outside the barrier may still use descriptors of the old stack.
  void sb.descriptors.ended().then(() => leaveStack(present))
  return {
    roots: keepRoots(roots, ready.opened, ready.layers),
    layers: ready.layers,
    stack,
    endSharing: ready.endSharing,
  }
}

/** Ends the use of what others may use too. No call of the overlay may be using it. */
export function leaveStack({ stack, endSharing }: Pick<Present, 'stack' | 'endSharing'>): void {
  endSharing()
  stack?.leave()
}

/** The roots with descriptors of upper and workdir that stay open in the present `run`. */
export async function ownRoots({ descriptors, upper, work }: SuperBlock, roots: Roots): Promise<Roots> {
  if (!upper || !work?.parent || !roots.upper?.shared || !roots.work) return roots
  const [upperFd, workFd] = [await descriptors.of(upper.root), await descriptors.of(work.parent)]
  return { ...roots, upper: { ...roots.upper, fd: upperFd }, work: { ...roots.work, fd: workFd } }
}

/** The next stack, ready to be used. */
export interface NextStack {
  readonly opened: LowerRoots
  readonly layers: Layers
  readonly index: Real | undefined
  readonly notices: readonly string[]
  readonly common: Common | undefined
  /** The seed of cookies, if lowers are shared. */
  readonly cookieSeed: Uint8Array | undefined
  endSharing(): void
}

/** Opens and examines the next stack, and changes nothing that is in use. */
export async function prepare(
  sb: SuperBlock,
  roots: Roots,
  { memory: { keeper, nowMs, ofStacks }, stack, budgets }: RemountParts,
  options: MountOptions,
): Promise<NextStack> {
  const opened = await openLowers(options, roots, stack)
  using undo = new DisposableStack()
  undo.defer(() => closeLowers(opened))
  const old = [...sb.lowers, ...sb.dataLayers]
  const isNew = (layer: Layer) => !old.includes(layer)
  ofStacks?.numbersFor(keeper)
  const own = await makeLayers({ ...opened, upper: roots.upper }, options, sb.overlayXattrs, keeper, {
    // Layers of a stack belong to it.
    ...{ known: stack?.known ?? new KnownLayers(), present: upperAnd(sb, stack ? old.filter(isFrozen) : old) },
  })
  const index = await indexFor(sb, options)
  const notices = decideTrust(own.trusted, isNew, await indexNames(sb.descriptors, index), keeper)
  const sinceMs = keeper.stackSinceMs(digestOf(own), nowMs)
  const common = stack && (await stack.memory.join(keeper, apartFrozen(own)[1], { sinceMs, nowMs }))
  const { layers, cookieSeed, endSharing } = shareLowers(sb, own, { common, stack, budgets, options, index })
  undo.defer(endSharing)
  const next = { ...sb, options, lowers: layers.lowers, dataLayers: layers.data }
  for (const { root } of layers.lowers.filter(isNew)) await readMarks(next, root)
  if (options.volatile && !sb.options.volatile) await becomeVolatile(sb)
  await keeper.save()
  undo.move()
  return { opened, layers, index, notices, common, cookieSeed, endSharing }
}

/** The layers of a stack as the overlays share them that see them in the same way; otherwise `own`. */
function shareLowers(
  sb: SuperBlock,
  own: Layers,
  next: Pick<RemountParts, 'stack' | 'budgets'> & Pick<NextStack, 'common' | 'index'> & { options: MountOptions },
): Pick<NextStack, 'layers' | 'cookieSeed' | 'endSharing'> {
  const { stack, common, budgets, options, index } = next
  const none = { layers: own, cookieSeed: undefined, endSharing: () => undefined }
  if (!stack || !common) return none
  placeLayers(own)
  const [frozen, below] = apartFrozen(own)
  noteStackChange([...below.lowers, ...below.data], common.sinceMs)
  const { cookieSeed } = common
  const sharing = stack.share(below, { ...sb, options, indexDir: index }, budgets, cookieSeed)
  if (!sharing) return none
  const { lowers, data } = sharing.shared
  return { layers: { ...own, lowers: [...frozen, ...lowers], data }, cookieSeed, endSharing: sharing.end }
}

/** Refuses changes of the upper, the workdir, and the format of data on them, which are fixed while the overlay is mounted. */
export function checkChanges(now: MountOptions, next: MountOptions): void {
  const refuse = (option: string, why: string) => {
    throw new OptionError(option, `${why}; stop the overlay and mount it again`)
  }
  if (next.upperdir !== now.upperdir) refuse('upperdir', 'cannot be changed by a remount')
  if (next.workdir !== now.workdir) refuse('workdir', 'cannot be changed by a remount')
  if (next.userxattr !== now.userxattr) refuse('userxattr', 'cannot be changed by a remount')
  if (next.whiteouts !== now.whiteouts) refuse('whiteouts', 'cannot be changed by a remount')
  if (next.uuid !== now.uuid) refuse('uuid', 'cannot be changed by a remount')
  if (now.volatile && !next.volatile) refuse('fsync', 'a remount cannot make a volatile overlay durable')
  if (now.readOnly && !next.readOnly && now.upperdir === undefined)
    refuse('rw', 'there is no upper to write to, and a remount cannot add one')
}

async function indexFor(sb: SuperBlock, options: MountOptions): Promise<Real | undefined> {
  // The upper is served read-only, because it could not be written at the start.
  if (sb.upper && !sb.work) return sb.indexDir
  if (!sb.upper || !sb.work || !options.index || !sb.storage?.links) return undefined
  const workdir = sb.work.parent as Real
  return sb.indexDir ?? (await sb.descriptors.run(() => openIndexDirectory(sb, workdir)))
}

async function becomeVolatile(sb: SuperBlock): Promise<void> {
  if (!sb.work) return
  try {
    const work = sb.work
    await sb.descriptors.run(async () => markVolatile(await sb.descriptors.of(work)))
  } catch (error) {
    // A failed remount has left the mark.
    if (!isErrno(error, 'EEXIST')) throw error
  }
}

/** Switches to the new stack. No call is running, and nothing here can fail. */
export function changeStack(
  sb: SuperBlock,
  options: MountOptions,
  { layers, index, notices, common, cookieSeed }: NextStack,
  nowMs: number,
): void {
  const kept = new Set([...layers.lowers, ...layers.data])
  const left = new Set([...sb.lowers, ...sb.dataLayers].filter((layer) => !kept.has(layer)))
  sb.options = options
  sb.readOnly = options.readOnly || sb.work === undefined
  sb.lowers = layers.lowers
  sb.dataLayers = layers.data
  // The first copy-up of a hard link may have created it meanwhile.
  sb.indexDir = index && (sb.indexDir ?? index)
  sb.notices = [...sb.storageNotices, ...notices]
  const [frozen] = apartFrozen(layers)
  noteStackChange(layers.upper ? [layers.upper, ...frozen] : frozen, nowMs)
  if (!common) {
    placeLayers(layers)
    noteStackChange(kept, nowMs)
  }
  sb.handles.share(common?.handles)
  forgetStack(sb)
  if (cookieSeed) {
    sb.cookieSeed = cookieSeed
    sb.listings.seed = cookieSeed
  }
  sb.files.dropIdleLower()
  sb.descriptors.dropLayers(left)
}

/** Has every object looked up again in the present layers. */
export function forgetStack(sb: SuperBlock): void {
  sb.stackVersion++
  const { root } = sb
  root.stackVersion = sb.stackVersion
  root.lowers = sb.lowers.map((layer) => layer.root)
  root.seenVersion = versionOf(root.lowers)
  root.rights = knownRights(sb, root.real)
  root.children = undefined
  root.listing = undefined
  root.changed()
  sb.dcache.forgetAllNames()
  sb.listings.clear()
}

function upperAnd({ upper }: SuperBlock, lowers: readonly Layer[]): readonly Layer[] {
  return upper ? [upper, ...lowers] : lowers
}

/** Closes the duplicate descriptors of layers that stay, whose roots are already open. */
export function keepRoots(roots: Roots, opened: LowerRoots, layers: Layers): Roots {
  const keep = (dirs: LowerRoots['lowers'], of: readonly Layer[]) =>
    dirs.map((dir, at) => {
      const { root, shared } = of[at] as Layer
      if (root.fd !== dir.fd) closeLater(dir.fd)
      return { ...dir, fd: root.fd, shared }
    })
  return { ...roots, lowers: keep(opened.lowers, layers.lowers), data: keep(opened.data, layers.data) }
}
