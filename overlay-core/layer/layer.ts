import type { MaybePromise, Name, Time } from '../api/types.ts'
import type { KernelHandle } from '../sys/handle.ts'
import type { Stat } from '../sys/stat.ts'
import type { WhiteoutFormat } from './whiteout-format.ts'

/** A layer of the stack. Lower layers are never written. */
export interface Layer {
  /** 0 is the upper (also when there is none), lowers count from 1, topmost first. Changes when a remount puts the layer elsewhere. */
  index: number
  /** Small number of the file system the layer lies on; layers on one file system share it. */
  readonly fsIndex: number
  /** Goes into the generation of an object that is known by its name, so that one of another file system is another one. */
  readonly salt: number
  readonly isUpper: boolean
  /** Whether it is a data-only layer: reached through metacopy redirects, never searched by name. */
  readonly dataOnly: boolean
  /** Its file system answers an open from memory; others (network, FUSE) may ask somebody, so never on the event loop. */
  readonly local: boolean
  /** Its file system makes no name durable before the blocks that the file shares with others. */
  readonly sharesInOrder: boolean
  /** Its root carries overlay marks: it is or was the upper of an overlay. */
  readonly wasUpper: boolean
  /** Whether its file system has POSIX ACLs. */
  readonly hasAcls: boolean
  /** Set where the file system makes its inode numbers up anew: the overlay's own stand in their place. */
  inodeNumbers: InodeNumbers | undefined
  /** UUID of the file system as in the kernel's `s_uuid`, zeros where unknown. */
  readonly fsUuid: Uint8Array
  /** Its hard links are joined in the index; false where the index could take them for those of another file system. */
  joinsLinks: boolean
  /** Its file handles name one object for ever, as far as the UUID tells: origins in it are followed. */
  trustsOrigins: boolean
  /** Copies of its objects bear their identity, as an origin would not lead them back for ever. */
  marksCopies: boolean
  /** How whiteouts and opaque directories are written down in it; of an upper it is set at mount, once that is known. */
  marks: WhiteoutFormat
  /** When the stack of layers was last changed: directories show no earlier ctime, so that clients look into them again. */
  stackChanged: Time | undefined
  /** The server may open its files by their handles; undefined until that was tried. */
  followsOrigins?: boolean
  readonly root: Real
}

/** Inode numbers that last, by the names of objects, for a file system without such. */
export interface InodeNumbers {
  /** False where only some objects have such numbers: the others go by those on disk. */
  readonly all: boolean
  /** What `stat`, of what is called `name` in `dir`, says with the lasting inode number. @throws ENOSPC | EIO a new one cannot be kept */
  stamp(dir: Real, name: Name, stat: Stat): MaybePromise<Stat>
}

/**
 * Whether the attributes of a layer's objects have to be asked for: an upper that is changed, on a file system that does not know at once
 * what a change has made of the times.
 */
export function asksForAttributes(layer: Layer): boolean {
  return layer.isUpper && (!layer.local || layer.inodeNumbers !== undefined)
}

/** Whether the inode number of `real` is not that of its file system. */
export function isNumberMadeUp(real: Real): boolean {
  const { inodeNumbers } = real.layer
  return inodeNumbers !== undefined && (inodeNumbers.all || real.ino >= MADE_UP)
}

/** Whether `ino`, as the file system says it, can be that of `real`. */
export function mayBeIno(real: Real, ino: number): boolean {
  return real.ino === ino || isNumberMadeUp(real)
}

/** Fields that only few objects have. */
class RealNotes {
  redirect: string | undefined = undefined
  stampNs = 0
  kernelHandle: KernelHandle | undefined = undefined
}

/** Below this are the inode numbers of disks; those that are made of paths (`PathNumbers`) are hardly ever. */
const MADE_UP = 2 ** 36

const USED = 1
const OPAQUE = 2
const XWHITEOUTS = 4
const IMPURE = 8
const PLAIN = 16
const XWHITEOUTS_KNOWN = 32
const EPOCH_SHIFT = 6
const FLAG_BITS = (1 << EPOCH_SHIFT) - 1

/**
 * An object as it lies in one layer: named by its real parent and one component, so that every system call is one component
 * long below a directory descriptor. Lower ones never move; upper ones are re-named by the operation that moves them. One without a
 * parent is the root of its layer, or has lost its known name (`losePlace` in objects/nameless.ts) and is found by `fd` and `kernelHandle`.
 */
export class Real {
  readonly layer: Layer
  parent: Real | undefined
  name: Name
  readonly ino: number
  /** O_PATH descriptor of a directory, or of an object without a known name; -1 when none is open. Owned by `Descriptors`. */
  fd = -1
  #notes: RealNotes | undefined = undefined
  /** Flags, and above them the epoch of `coversNothingIn`, plus one. */
  #bits = 0

  constructor(layer: Layer, parent: Real | undefined, name: Name, ino: number) {
    this.layer = layer
    this.parent = parent
    this.name = name
    this.ino = ino
  }

  /** Second chance of the descriptor cache. */
  get used(): boolean {
    return (this.#bits & USED) !== 0
  }

  set used(used: boolean) {
    this.#set(USED, used)
  }

  /** Whether the directory is marked as opaque. */
  get opaque(): boolean {
    return (this.#bits & OPAQUE) !== 0
  }

  set opaque(opaque: boolean) {
    this.#set(OPAQUE, opaque)
  }

  /** The directory may hold whiteouts in the form of an attribute (`overlay.opaque` = x); undefined when nobody has looked. */
  get xwhiteouts(): boolean | undefined {
    return (this.#bits & XWHITEOUTS_KNOWN) === 0 ? undefined : (this.#bits & XWHITEOUTS) !== 0
  }

  set xwhiteouts(xwhiteouts: boolean | undefined) {
    this.#set(XWHITEOUTS, xwhiteouts === true)
    this.#set(XWHITEOUTS_KNOWN, xwhiteouts !== undefined)
  }

  /** `overlay.redirect` of an upper directory. */
  get redirect(): string | undefined {
    return this.#notes?.redirect
  }

  set redirect(redirect: string | undefined) {
    if (!this.#notes && redirect === undefined) return
    this.#notes ??= new RealNotes()
    this.#notes.redirect = redirect
  }

  /** The ctime in ns at which a directory's names were known; 0: never looked at, NaN: too fresh to be sure (option `revalidate`). */
  get stampNs(): number {
    return this.#notes?.stampNs ?? 0
  }

  set stampNs(stampNs: number) {
    this.#notes ??= new RealNotes()
    this.#notes.stampNs = stampNs
  }

  /** How the file system finds an object whose names nobody knows (`parent` undefined); undefined when only `fd` leads to it. */
  get kernelHandle(): KernelHandle | undefined {
    return this.#notes?.kernelHandle
  }

  set kernelHandle(kernelHandle: KernelHandle | undefined) {
    this.#notes ??= new RealNotes()
    this.#notes.kernelHandle = kernelHandle
  }

  /** Upper directory that holds objects with an origin (`overlay.impure`). */
  get impure(): boolean {
    return (this.#bits & IMPURE) !== 0
  }

  set impure(impure: boolean) {
    this.#set(IMPURE, impure)
  }

  /** Its extended attributes were listed, and none of them decides on rights (`isPlain` in rights.ts). */
  get plain(): boolean {
    return (this.#bits & PLAIN) !== 0
  }

  set plain(plain: boolean) {
    this.#set(PLAIN, plain)
  }

  /** The epoch of the overlay in which no lower has anything at this upper object's name; -1 when that is not known. */
  get coversNothingIn(): number {
    return (this.#bits >> EPOCH_SHIFT) - 1
  }

  set coversNothingIn(epoch: number) {
    this.#bits = (this.#bits & FLAG_BITS) | ((epoch + 1) << EPOCH_SHIFT)
  }

  #set(flag: number, on: boolean): void {
    this.#bits = on ? this.#bits | flag : this.#bits & ~flag
  }
}

/** The object at a name of a real directory. `fd` is an O_PATH descriptor for directories (the caller owns it), otherwise -1. */
export interface Probe {
  readonly stat: Stat
  readonly fd: number
}

/** A real object found by a lookup, with its attributes. */
export interface Found {
  readonly real: Real
  readonly stat: Stat
}
