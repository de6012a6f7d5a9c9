import { isErrno, OverlayError } from '../api/errno.ts'
import { ending } from '../api/maybe-promise.ts'
import { FileType, type MaybePromise, type Name } from '../api/types.ts'
import type { BudgetedCache, CacheBudget, CacheShare } from '../base/cache-budget.ts'
import { type KernelHandle, openByHandle } from '../sys/handle.ts'
import { ABSENT, closeLater, closeSync, openAtCached, openIfThere, openRootAgain, WOULD_WAIT } from '../sys/open.ts'
import { statxFd, statxFdAsking } from '../sys/stat.ts'
import { CallEpochs, type DescriptorOwner } from './call-epochs.ts'
import {
  asksForAttributes,
  type Found,
  type InodeNumbers,
  type Layer,
  mayBeIno,
  type Probe,
  Real,
  type RootPlace,
} from './layer.ts'
import { numbered, PROBE_FLAGS, probeAt } from './probe.ts'
import { withTrueLinks } from './true-links.ts'

/**
 * The O_PATH descriptors of real directories: opened on demand, limited in number by a budget, and closed by second chance.
 *
 * A descriptor obtained here stays valid for the rest of the synchronous code, and inside `run` until that call ends (`CallEpochs`). The descriptors
 * of a layer that several overlays use belong to `Layer.descriptors`; the `Descriptors` of each of these overlays opens and uses them there.
 */
export class Descriptors implements BudgetedCache, DescriptorOwner {
  readonly #share: CacheShare
  /** The calls that can use descriptors of this overlay, or those of all overlays that can use these. */
  readonly #calls: CallEpochs
  /** The calls of all overlays on a stack. */
  readonly #callsOfStack: CallEpochs | undefined
  /** The open directories, and the epoch in which each was opened. */
  readonly #open = new Map<Real, number>()
  /** Directories that are being opened. */
  readonly #opening = new Map<Real, Promise<number>>()
  /** The directory that is being added, whose descriptor its caller is about to use. */
  #adopting: Real | undefined
  /** The number of running calls. */
  #running = 0
  readonly #waiting: (() => void)[] = []
  #reals: Map<number, Real> | undefined
  /** Closes descriptors of objects that are not directories. */
  readonly #objects: DescriptorOwner = { close: closeObject }

  /**
   * @param budget counts the open directory descriptors
   * @param calls the calls that can use them, if others count those
   * @param callsOfStack counts the calls of all overlays on the same stack, with the same clock
   */
  constructor(budget: CacheBudget, calls = new CallEpochs(), callsOfStack?: CallEpochs) {
    this.#share = budget.join(this)
    this.#calls = calls
    this.#callsOfStack = callsOfStack
  }

  /** The descriptors of an overlay on a stack, of whose calls `calls` counts all. */
  static onStack(budget: CacheBudget, calls: CallEpochs | undefined): Descriptors {
    return new Descriptors(budget, new CallEpochs(calls?.clock), calls)
  }

  /** Makes `realOf` work, for directories opened from now on. */
  follow(): void {
    this.#reals = new Map([...this.#open.keys()].map((real) => [real.fd, real]))
  }

  /** The directory of a descriptor that was opened here; only after `follow`. */
  realOf(fd: number): Real | undefined {
    return this.#reals?.get(fd)
  }

  /** Runs an asynchronous call; its descriptors stay open until it ends. */
  run<T>(call: () => MaybePromise<T>): MaybePromise<T> {
    const epoch = this.enter()
    return ending(call, () => this.leave(epoch))
  }

  /** The start of `run`; pass its result to `leave`. */
  enter(): number {
    this.#running++
    const calls = this.#calls
    calls.runningNow++
    const ofStack = this.#callsOfStack
    if (ofStack !== undefined) ofStack.runningNow++
    return calls.clock.now
  }

  /** The end of `run`. */
  leave(epoch: number): void {
    const calls = this.#calls
    if (epoch > calls.lastRetired) calls.runningNow--
    else calls.leaveEarlier(epoch)
    if (calls.hasRetired) calls.scheduleDrain()
    const ofStack = this.#callsOfStack
    if (ofStack !== undefined) {
      if (epoch > ofStack.lastRetired) ofStack.runningNow--
      else ofStack.leaveEarlier(epoch)
      if (ofStack.hasRetired) ofStack.scheduleDrain()
    }
    if (--this.#running === 0 && this.#waiting.length > 0) for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Lets descriptors evicted so far be closed during a long call that no longer needs them. Takes the result of `enter` and returns that for `leave`. */
  renew(epoch: number): number {
    // In this order, so that the call counts as running at every moment.
    const next = this.enter()
    this.leave(epoch)
    return next
  }

  /**
   * Waits for `work` inside a `run`, as its only work: descriptors that are opened meanwhile need not stay open for this call. `work` may use
   * descriptors only inside a `run` of its own.
   */
  async resting<T>(work: () => MaybePromise<T>): Promise<T> {
    const calls = this.#calls
    const ofStack = this.#callsOfStack
    const since = calls.rest()
    ofStack?.rest()
    try {
      return await work()
    } finally {
      calls.goOn(since)
      ofStack?.goOn(since)
    }
  }

  /** The limit of open directory descriptors, of all overlays together. */
  get limit(): number {
    return this.#share.limit
  }

  /** Resolves when no call is running any more. */
  async idle(): Promise<void> {
    while (this.#running > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.push(resolve)
      await promise
    }
  }

  /** Resolves when all calls have ended that are running now. */
  ended(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#calls.retire(-1, { close: () => resolve() })
    return promise
  }

  /** The descriptor of `real`, a directory or an object without a known name. @throws ESTALE it is no longer at its name */
  of(real: Real): MaybePromise<number> {
    if (real.fd >= 0) {
      real.used = true
      ;(real.layer.descriptors ?? this).#share.use()
      return real.fd
    }
    if (!real.parent) return this.#openNameless(real)
    const parentFd = this.of(real.parent)
    if (parentFd instanceof Promise) return parentFd.then((fd) => this.#openBelow(fd, real))
    return this.#openBelow(parentFd, real)
  }

  /** Takes ownership of `fd` for `real`, or closes it if one is already open. */
  adopt(real: Real, fd: number): void {
    if (real.fd >= 0) closeSync(fd)
    else (real.layer.descriptors ?? this).#add(real, fd)
  }

  #add(real: Real, fd: number): void {
    real.fd = fd
    real.used = true
    this.#reals?.set(fd, real)
    this.#open.set(real, this.#calls.clock.now)
    this.#share.use()
    this.#adopting = real
    this.#share.grow(1)
    this.#adopting = undefined
  }

  /** Closes the descriptor of `real`, if any, unless other overlays may use it. */
  drop(real: Real): void {
    if (real.fd < 0 || real.layer.descriptors) return
    const born = this.#open.get(real)
    if (this.#open.delete(real)) this.#share.shrink(1)
    this.#calls.retire(real.fd, this, born)
    real.fd = -1
  }

  /** Closes `fd` once no running call can use it. */
  retire(fd: number): void {
    this.#calls.retire(fd, this)
  }

  /** @see DescriptorOwner.close — only `CallEpochs` calls it. */
  close(fd: number): void {
    this.#reals?.delete(fd)
    closeSync(fd)
  }

  /**
   * Opens an O_PATH descriptor of the object `real`; returns -1 if its name is now absent or belongs to another object. The
   * caller owns it.
   */
  async openObject(real: Real): Promise<number> {
    const dir = real.parent as Real
    const dirFd = await this.of(dir)
    let fd = real.layer.local ? openAtCached(dirFd, real.name, PROBE_FLAGS) : WOULD_WAIT
    if (fd === WOULD_WAIT) fd = await openIfThere(dirFd, real.name, PROBE_FLAGS)
    if (fd === ABSENT) return -1
    let same = false
    try {
      const { inodeNumbers } = real.layer
      const stat = statxFd(fd)
      same = (inodeNumbers ? await inodeNumbers.withStableNumber(dir, real.name, stat) : stat).ino === real.ino
      return same ? fd : -1
    } finally {
      if (!same) closeSync(fd)
    }
  }

  /**
   * Names the object `real` for system calls that change it: by a descriptor, which always refers to this object, and ''.
   * Valid for the rest of the present `run`.
   *
   * @throws ESTALE another object has its name
   */
  async proven(real: Real): Promise<number> {
    if (!real.parent) return await this.of(real)
    const fd = await this.openObject(real)
    if (fd < 0) throw new OverlayError('ESTALE', 'open', real.name)
    this.#calls.retire(fd, this.#objects)
    return fd
  }

  /** Finds the object of `layer` with this file handle, if it still has a name. */
  async foundByHandle(layer: Layer, handle: KernelHandle): Promise<Found | undefined> {
    const fd = await this.#openByHandle(layer, handle)
    if (fd === undefined) return undefined
    const stat = withTrueLinks(statxFd(fd))
    const real = new Real(layer, undefined, '', stat.ino)
    real.kernelHandle = handle
    return { real, stat }
  }

  /** The object named `name` in `dir`, without following a symlink; undefined if there is none. */
  probe(dir: Real, name: Name): MaybePromise<Probe | undefined> {
    const { local } = dir.layer
    if (asksForAttributes(dir.layer)) return this.#probeAsking(dir, name)
    if (dir.layer.inodeNumbers) return this.#probeNumbered(dir, name, dir.layer.inodeNumbers)
    const dirFd = this.of(dir)
    if (dirFd instanceof Promise) return dirFd.then((fd) => probeAt(fd, name, local))
    return probeAt(dirFd, name, local)
  }

  #probeNumbered(dir: Real, name: Name, numbers: InodeNumbers): MaybePromise<Probe | undefined> {
    const { local } = dir.layer
    const number = (probe: Probe | undefined) => probe && numbered(numbers, dir, name, probe)
    const dirFd = this.of(dir)
    if (dirFd instanceof Promise) return dirFd.then(async (fd) => number(await probeAt(fd, name, local)))
    const probe = probeAt(dirFd, name, local)
    return probe instanceof Promise ? probe.then(number) : number(probe)
  }

  async #probeAsking(dir: Real, name: Name): Promise<Probe | undefined> {
    const { inodeNumbers } = dir.layer
    const dirFd = await this.of(dir)
    const fd = await openIfThere(dirFd, name, PROBE_FLAGS)
    if (fd === ABSENT) return undefined
    let directory = false
    try {
      const stat = await statxFdAsking(fd)
      const numbered = inodeNumbers ? await inodeNumbers.withStableNumber(dir, name, stat) : stat
      directory = stat.type === FileType.directory
      return { stat: numbered, fd: directory ? fd : -1 }
    } finally {
      if (!directory) closeSync(fd)
    }
  }

  /** Creates the real object for what `probe` found at `name` in `dir`; takes ownership of its descriptor. */
  found(dir: Real, name: Name, probe: Probe): Found {
    const real = new Real(dir.layer, dir, name, probe.stat.ino)
    if (probe.fd >= 0) this.adopt(real, probe.fd)
    return { real, stat: probe.stat }
  }

  /** Closes every descriptor of these layers, including their roots, because they left the stack. Other overlays may use those of shared layers. */
  dropLayers(layers: ReadonlySet<Layer>): void {
    for (const real of this.#open.keys()) if (layers.has(real.layer)) this.drop(real)
    for (const { root, shared, descriptors } of layers) {
      if (descriptors) continue
      if (!shared) this.retire(root.fd)
      root.fd = -1
    }
  }

  /** Closes everything. No call may be running. */
  closeAll(): void {
    for (const real of this.#open.keys()) {
      closeSync(real.fd)
      real.fd = -1
    }
    this.#open.clear()
    this.#share.clear()
    this.#calls.closeAllOf(this)
    this.#calls.closeAllOf(this.#objects)
  }

  #openBelow(parentFd: number, real: Real): MaybePromise<number> {
    if (real.fd >= 0) return real.fd
    const opening = this.#opening.get(real)
    if (opening !== undefined) return opening
    const found = probeAt(parentFd, real.name, real.layer.local)
    if (!(found instanceof Promise)) return this.#adoptProbe(real, found)
    // Concurrent calls in one directory open it once; otherwise they could use up all descriptors.
    const opened = found.then((probe) => this.#adoptProbe(real, probe)).finally(() => this.#opening.delete(real))
    this.#opening.set(real, opened)
    return opened
  }

  /** Takes ownership of the descriptor of the root `real`, which may be closed from now on, and is opened again at `path`. */
  release(real: Real, path: string): void {
    const { devMajor, devMinor } = statxFd(real.fd)
    real.place = { path, devMajor, devMinor }
    const { fd } = real
    real.fd = -1
    this.adopt(real, fd)
  }

  async #openAgain(real: Real, { path, devMajor, devMinor }: RootPlace): Promise<number> {
    const fd = await openRootAgain(path)
    const stat = statxFd(fd)
    if (stat.ino !== real.ino || stat.devMajor !== devMajor || stat.devMinor !== devMinor) {
      closeSync(fd)
      throw new OverlayError('ESTALE', 'open')
    }
    this.adopt(real, fd)
    return real.fd
  }

  async #openNameless(real: Real): Promise<number> {
    const { kernelHandle, layer, ino, place } = real
    if (place) {
      const opening = this.#opening.get(real) ?? this.#openAgain(real, place).finally(() => this.#opening.delete(real))
      this.#opening.set(real, opening)
      return await opening
    }
    const fd = kernelHandle ? await this.#openByHandle(layer, kernelHandle) : undefined
    if (fd !== undefined && statxFd(fd).ino === ino) return fd
    throw new OverlayError('ESTALE', 'open')
  }

  /** The result is valid in the present `run`; undefined if the object has no name any more, or may not be opened by handle. */
  async #openByHandle({ root }: Layer, { type, bytes }: KernelHandle): Promise<number | undefined> {
    if (root.fd < 0 && !root.place) return undefined
    let fd: number
    try {
      fd = await openByHandle(await this.of(root), type, bytes, PROBE_FLAGS)
    } catch (error) {
      if (isErrno(error, 'ESTALE', 'EPERM', 'EINVAL')) return undefined
      throw error
    }
    this.retire(fd)
    return statxFd(fd).nlink > 0 ? fd : undefined
  }

  #adoptProbe(real: Real, probe: Probe | undefined): number {
    if (!probe || probe.fd < 0) throw new OverlayError('ESTALE', 'open', real.name)
    if (!mayBeIno(real, probe.stat.ino)) {
      closeSync(probe.fd)
      throw new OverlayError('ESTALE', 'open', real.name)
    }
    this.adopt(real, probe.fd)
    return real.fd
  }

  /** Closes descriptors that were not used since the last time, if there are enough of them. */
  giveUp(count: number): void {
    const left = Math.max(0, this.#open.size - count)
    for (const [real, born] of this.#open) {
      if (this.#open.size <= left) return
      if (real === this.#adopting) continue
      this.#open.delete(real)
      if (real.used) {
        real.used = false
        this.#open.set(real, born)
        continue
      }
      this.#share.shrink(1)
      this.#calls.retire(real.fd, this, born)
      real.fd = -1
    }
  }
}

/** Closes an O_PATH descriptor. If the object has lost its last name meanwhile, that frees its content, which may take long. */
function closeObject(fd: number): void {
  if (statxFd(fd).nlink > 0) closeSync(fd)
  else closeLater(fd)
}
