import { OverlayError } from './errno.ts'
import type { MarkForm } from './mark-form.ts'
import { O_NOFOLLOW, O_PATH } from './sys/flags.ts'
import { closeSync, openAt, openAtCached } from './sys/open.ts'
import { type Stat, statxFd, statxFdAsking } from './sys/stat.ts'
import { FileType, type Maybe, type Name, type Time } from './types.ts'

/** One layer of the stack. Lower layers are never written. */
export interface Layer {
  /** 0 is the upper (also when there is none), lowers count from 1, topmost first. Changes when a remount puts the layer elsewhere. */
  index: number
  /** Small number of the file system the layer lies on; layers on one file system share it. */
  readonly fsIndex: number
  readonly isUpper: boolean
  /** A data-only layer: reached through metacopy redirects, never searched by name. */
  readonly dataOnly: boolean
  /** Its file system answers an open from memory; others (network, FUSE) may ask somebody, so never on the event loop. */
  readonly local: boolean
  /** Its root carries overlay marks: it is or was the upper of an overlay. */
  readonly wasUpper: boolean
  /** Its file system has POSIX ACLs. */
  readonly hasAcls: boolean
  /** Set where the file system makes its inode numbers up anew: the overlay's own stand in their place. */
  inodeNumbers: InodeNumbers | undefined
  /** UUID of the file system as in the kernel's `s_uuid`, zeros where unknown. */
  readonly fsUuid: Uint8Array
  /** How whiteouts and opaque directories are written down in it; of an upper it is set at mount, once that is known. */
  marks: MarkForm
  /** When the stack of layers was last changed: directories show no earlier ctime, so that clients look into them again. */
  stackChanged: Time | undefined
  readonly root: Real
}

/** Inode numbers that last, by the names of objects, for a file system without such. */
export interface InodeNumbers {
  /** What `stat`, of what is called `name` in `dir`, says with the lasting inode number. @throws ENOSPC | EIO a new one cannot be kept */
  stamp(dir: Real, name: Name, stat: Stat): Maybe<Stat>
}

/**
 * Whether the attributes of a layer's objects have to be asked for: an upper that is changed, on a file system that does not know at once
 * what a change has made of the times.
 */
export function asksForAttributes(layer: Layer): boolean {
  return layer.isUpper && (!layer.local || layer.inodeNumbers !== undefined)
}

/**
 * An object as it lies in one layer: named by its real parent and one component, so that every system call is one component
 * long below a directory descriptor. Lower ones never move; upper ones are re-named by the operation that moves them.
 */
export class Real {
  readonly layer: Layer
  parent: Real | undefined
  name: Name
  readonly ino: number
  /** O_PATH descriptor of a directory, or -1 when none is open. Owned by `Descriptors`. */
  fd = -1
  /** Second chance of the descriptor cache. */
  used = false
  /** Directory marked as opaque. */
  opaque = false
  /** `overlay.redirect` of an upper directory. */
  redirect: string | undefined = undefined
  /** The directory may hold whiteouts in the form of an attribute (`overlay.opaque` = x); undefined when nobody has looked. */
  xwhiteouts: boolean | undefined = undefined
  /** Upper directory that holds objects with an origin (`overlay.impure`). */
  impure = false
  /** The epoch of the overlay in which no lower has anything at this upper object's name; -1 when that is not known. */
  coversNothingIn = -1
  /** The ctime in ns at which a directory's names were known; 0: never looked at, NaN: too fresh to be sure (option `revalidate`). */
  stampNs = 0
  /** Its extended attributes were listed, and none of them decides on rights (`isPlain` in rights.ts). */
  plain = false

  constructor(layer: Layer, parent: Real | undefined, name: Name, ino: number) {
    this.layer = layer
    this.parent = parent
    this.name = name
    this.ino = ino
  }
}

/** What stands at a name of a real directory. `fd` is an O_PATH descriptor for directories (the caller owns it), else -1. */
export interface Probe {
  readonly stat: Stat
  readonly fd: number
}

/** A real object found by a lookup, with its attributes. */
export interface Found {
  readonly real: Real
  readonly stat: Stat
}

const PROBE_FLAGS = O_PATH | O_NOFOLLOW

/**
 * The O_PATH descriptors of real directories: opened when first needed, bounded, closed by second chance.
 *
 * A descriptor number obtained here stays valid for the rest of the synchronous code, and inside `run` until that call
 * ends: closing waits for every call that was running when it was evicted (epochs), so that no call can meet a number that
 * was closed and given to another file.
 */
export class Descriptors {
  readonly #limit: number
  readonly #open = new Set<Real>()
  #epoch = 0
  readonly #running = new Map<number, number>()
  #retired: { epoch: number; fd: number }[] = []
  #drainScheduled = false
  readonly #waiting: (() => void)[] = []
  #reals: Map<number, Real> | undefined

  /** @param limit how many directory descriptors may be open at once */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** From now on `realOf` knows the directories of open descriptors. */
  follow(): void {
    this.#reals = new Map([...this.#open].map((real) => [real.fd, real]))
  }

  /** The directory whose descriptor `fd` is, of those that were opened here; only after `follow`. */
  realOf(fd: number): Real | undefined {
    return this.#reals?.get(fd)
  }

  /** Runs an asynchronous call; descriptors that it obtains stay open until it ends. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    const epoch = this.enter()
    try {
      return await call()
    } finally {
      this.leave(epoch)
    }
  }

  /** As the beginning of `run`; `leave` gets what it returns. */
  enter(): number {
    const epoch = this.#epoch
    this.#running.set(epoch, (this.#running.get(epoch) ?? 0) + 1)
    return epoch
  }

  /** As the end of `run`. */
  leave(epoch: number): void {
    const left = (this.#running.get(epoch) as number) - 1
    if (left === 0) this.#running.delete(epoch)
    else this.#running.set(epoch, left)
    if (this.#running.size === 0) for (const wake of this.#waiting.splice(0)) wake()
    if (this.#retired.length > 0) this.#scheduleDrain()
  }

  /** Resolves when no call runs any more. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.push(resolve)
      await promise
    }
  }

  /** The descriptor of directory `real`. @throws ESTALE it is no longer where it was */
  of(real: Real): Maybe<number> {
    if (real.fd >= 0) {
      real.used = true
      return real.fd
    }
    if (!real.parent) throw new OverlayError('ESTALE', 'open')
    const parentFd = this.of(real.parent)
    if (parentFd instanceof Promise) return parentFd.then((fd) => this.#openBelow(fd, real))
    return this.#openBelow(parentFd, real)
  }

  /** Takes over `fd` for `real`, or closes it when one is open already. */
  adopt(real: Real, fd: number): void {
    if (real.fd >= 0) {
      closeSync(fd)
      return
    }
    real.fd = fd
    real.used = true
    this.#reals?.set(fd, real)
    if (!real.parent) return
    this.#open.add(real)
    if (this.#open.size > this.#limit) this.#evict()
  }

  /** Gives up the descriptor of `real`, if any. */
  drop(real: Real): void {
    if (real.fd < 0) return
    this.#open.delete(real)
    this.retire(real.fd)
    real.fd = -1
  }

  /** Closes `fd` when no call that runs now can still use it. */
  retire(fd: number): void {
    this.#retired.push({ epoch: this.#epoch++, fd })
    this.#scheduleDrain()
  }

  /** What is called `name` in `dir`, without following a symlink; undefined when nothing is. */
  probe(dir: Real, name: Name): Maybe<Probe | undefined> {
    const { local } = dir.layer
    if (asksForAttributes(dir.layer)) return this.#probeAsking(dir, name)
    const dirFd = this.of(dir)
    if (dirFd instanceof Promise) return dirFd.then((fd) => probeAt(fd, name, local))
    return probeAt(dirFd, name, local)
  }

  async #probeAsking(dir: Real, name: Name): Promise<Probe | undefined> {
    const { inodeNumbers } = dir.layer
    const dirFd = await this.of(dir)
    const fd = await openIfThere(dirFd, name)
    if (fd < 0) return undefined
    let directory = false
    try {
      const stat = await statxFdAsking(fd)
      const stamped = inodeNumbers ? await inodeNumbers.stamp(dir, name, stat) : stat
      directory = stat.type === FileType.directory
      return { stat: stamped, fd: directory ? fd : -1 }
    } finally {
      if (!directory) closeSync(fd)
    }
  }

  /** The real object that `probe` found at `name` in `dir`; takes over its descriptor. */
  found(dir: Real, name: Name, probe: Probe): Found {
    const real = new Real(dir.layer, dir, name, probe.stat.ino)
    if (probe.fd >= 0) this.adopt(real, probe.fd)
    return { real, stat: probe.stat }
  }

  /** Gives up every descriptor of these layers, those of their roots too: they are in no stack any more. */
  dropLayers(layers: ReadonlySet<Layer>): void {
    for (const real of this.#open) if (layers.has(real.layer)) this.drop(real)
    for (const { root } of layers) {
      this.retire(root.fd)
      root.fd = -1
    }
  }

  /** Closes everything; nothing may run any more. */
  closeAll(): void {
    for (const real of this.#open) {
      closeSync(real.fd)
      real.fd = -1
    }
    this.#open.clear()
    for (const { fd } of this.#retired) closeSync(fd)
    this.#retired = []
  }

  #openBelow(parentFd: number, real: Real): Maybe<number> {
    if (real.fd >= 0) return real.fd
    const found = probeAt(parentFd, real.name, real.layer.local)
    if (found instanceof Promise) return found.then((probe) => this.#adoptProbe(real, probe))
    return this.#adoptProbe(real, found)
  }

  #adoptProbe(real: Real, probe: Probe | undefined): number {
    if (!probe || probe.fd < 0) throw new OverlayError('ESTALE', 'open', real.name)
    if (probe.stat.ino !== real.ino && !real.layer.inodeNumbers) {
      closeSync(probe.fd)
      throw new OverlayError('ESTALE', 'open', real.name)
    }
    this.adopt(real, probe.fd)
    return real.fd
  }

  #evict(): void {
    for (const real of this.#open) {
      if (this.#open.size <= this.#limit) return
      this.#open.delete(real)
      if (real.used) {
        real.used = false
        this.#open.add(real)
        continue
      }
      this.retire(real.fd)
      real.fd = -1
    }
  }

  #scheduleDrain(): void {
    if (this.#drainScheduled) return
    this.#drainScheduled = true
    setImmediate(() => {
      this.#drainScheduled = false
      this.#drain()
    })
  }

  #drain(): void {
    let oldest = Number.POSITIVE_INFINITY
    for (const epoch of this.#running.keys()) if (epoch < oldest) oldest = epoch
    let done = 0
    while (done < this.#retired.length && (this.#retired[done] as { epoch: number }).epoch < oldest) {
      const { fd } = this.#retired[done] as { fd: number }
      this.#reals?.delete(fd)
      closeSync(fd)
      done++
    }
    if (done > 0) this.#retired = this.#retired.slice(done)
  }
}

function probeAt(dirFd: number, name: Name, local: boolean): Maybe<Probe | undefined> {
  if (!local) return probeWaiting(dirFd, name)
  try {
    const fd = openAtCached(dirFd, name, PROBE_FLAGS)
    if (fd >= 0) return probed(fd)
  } catch (error) {
    return absent(error)
  }
  return probeWaiting(dirFd, name)
}

async function probeWaiting(dirFd: number, name: Name): Promise<Probe | undefined> {
  const fd = await openIfThere(dirFd, name)
  return fd < 0 ? undefined : probed(fd)
}

/** -1 when nothing is called so. */
async function openIfThere(dirFd: number, name: Name): Promise<number> {
  try {
    return await openAt(dirFd, name, PROBE_FLAGS)
  } catch (error) {
    absent(error)
    return -1
  }
}

function probed(fd: number): Probe {
  const stat = statxFd(fd)
  if (stat.type === FileType.directory) return { stat, fd }
  closeSync(fd)
  return { stat, fd: -1 }
}

function absent(error: unknown): undefined {
  if (error instanceof OverlayError && error.code === 'ENOENT') return undefined
  throw error
}
