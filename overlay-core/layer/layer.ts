import type { MaybePromise, Name, Time } from '../api/types.ts'
import type { KernelHandle } from '../sys/handle.ts'
import type { Stat } from '../sys/stat.ts'
import type { Descriptors } from './descriptors.ts'
import type { WhiteoutFormat } from './whiteout-format.ts'

/** A layer of the stack. Lower layers are never written. */
export interface Layer {
  /** The position: lowers count from 1, topmost first, and those that were frozen from 0 downwards. A remount may change it. */
  index: number
  /** A small number for the file system of the layer; layers on the same file system share it. */
  readonly fsIndex: number
  /** Part of the generations of objects identified by name, so that an object on another file system has another identity. */
  readonly salt: number
  isUpper: boolean
  /**
   * Whether it was the upper of the overlay until it was frozen. Its marks of identity count like those of the upper. A freeze sets it, together with
   * `isUpper`, while no call is running.
   */
  frozen: boolean
  /** The index of hard links that belonged to it when it was frozen; undefined without one. */
  frozenIndex: Real | undefined
  /** Whether it is a data-only layer: reached through metacopy redirects, never searched by name. */
  readonly dataOnly: boolean
  /** Whether its file system opens files from memory. Others (network, FUSE) may ask another process, so they are never opened on the event loop. */
  readonly local: boolean
  /** Whether its file system makes a name durable only after blocks that the file shares with others. */
  readonly sharesInOrder: boolean
  /** Whether its root carries overlay marks: it is or was the upper of an overlay. */
  readonly wasUpper: boolean
  /** Whether the descriptor of its root belongs to a stack, which closes it. */
  readonly shared: boolean
  /** Owns the descriptors of its directories, if other overlays use the same objects; undefined: those of its overlay do. */
  readonly descriptors: Descriptors | undefined
  /** Whether its file system has POSIX ACLs. */
  readonly hasAcls: boolean
  /** Set if the file system's inode numbers are not stable; these replace them. */
  inodeNumbers: InodeNumbers | undefined
  /** The UUID of the file system as in the kernel's `s_uuid`; zeros if unknown. */
  readonly fsUuid: Uint8Array
  /** Whether its hard links are joined in the index; false if the index could confuse them with those of another file system. */
  joinsLinks: boolean
  /** Whether origins in it are followed, because its file handles always identify the same object, as far as the UUID tells. */
  trustsOrigins: boolean
  /** Whether copies of its objects carry their identity, because the origin does not reliably lead back. */
  marksCopies: boolean
  /** The format of its whiteouts and opaque directories. For an upper, it is set at mount as soon as it is known. */
  marks: WhiteoutFormat
  /** When the stack of layers last changed. Directories show no earlier ctime, so that clients read them again. */
  stackChanged: Time | undefined
  /** Whether the server may open its files by handle; undefined until that was tried. */
  followsOrigins?: boolean
  readonly root: Real
}

/** Whether the marks of objects in the layer say where their identity comes from. */
export function keepsIdentities({ isUpper, frozen }: Layer): boolean {
  return isUpper || frozen
}

/** Stable inode numbers, by the names of objects, for a file system without them. */
export interface InodeNumbers {
  /** False if only some objects have such numbers; the others use those of the disk. */
  readonly all: boolean
  /** Two that give the same numbers have the same key; undefined if nobody else gives the same ones. */
  readonly key: string | undefined
  /** Returns `stat`, of the object `name` in `dir`, with the stable inode number. @throws ENOSPC | EIO a new number cannot be stored */
  withStableNumber(dir: Real, name: Name, stat: Stat): MaybePromise<Stat>
}

/**
 * Whether attributes in a layer must be read with a request to the file system: in an upper that is changed, on a file system whose cached times may
 * be wrong after a change.
 */
export function asksForAttributes(layer: Layer): boolean {
  return layer.isUpper && (!layer.local || layer.inodeNumbers !== undefined)
}

/** Whether the overlay made up the inode number of `real`. */
export function isNumberMadeUp(real: Real): boolean {
  const { inodeNumbers } = real.layer
  return inodeNumbers !== undefined && (inodeNumbers.all || real.ino >= MADE_UP)
}

/** Whether `ino`, the file system's number, can be that of `real`. */
export function mayBeIno(real: Real, ino: number): boolean {
  return real.ino === ino || isNumberMadeUp(real)
}

/** How a root is found again after its descriptor was closed. */
export interface RootPlace {
  readonly path: string
  readonly devMajor: number
  readonly devMinor: number
}

/** Fields that few objects need. */
class RareFields {
  redirect: string | undefined = undefined
  ctimeNs = 0
  kernelHandle: KernelHandle | undefined = undefined
  place: RootPlace | undefined = undefined
}

/** Inode numbers of disks are below this; those made from paths (`PathNumbers`) hardly ever are. */
const MADE_UP = 2 ** 36

const USED = 1
const OPAQUE = 2
const XWHITEOUTS = 4
const IMPURE = 8
const PLAIN = 16
const XWHITEOUTS_KNOWN = 32
const STACK_VERSION_SHIFT = 6
const FLAG_BITS = (1 << STACK_VERSION_SHIFT) - 1

/**
 * An object in one layer. It is named by its real parent and one component, so that every system call uses one component
 * relative to a directory descriptor. Lower objects never move; an operation that moves an upper object updates its name. An object without a
 * parent is the root of its layer, or has lost its known name (see objects/nameless.ts) and is found by `fd` and `kernelHandle`.
 */
export class Real {
  readonly layer: Layer
  parent: Real | undefined
  name: Name
  readonly ino: number
  /** The O_PATH descriptor of a directory, or of an object without a known name; -1 if none is open. Owned by `Descriptors`. */
  fd = -1
  #rare: RareFields | undefined = undefined
  /** Flags, with the value of `coversNothingIn` plus one in the bits above. */
  #bits = 0

  constructor(layer: Layer, parent: Real | undefined, name: Name, ino: number) {
    this.layer = layer
    this.parent = parent
    this.name = name
    this.ino = ino
  }

  /** Whether it was used recently, for the second chance of the descriptor cache. */
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

  /** Whether the directory may contain whiteouts in attribute form (`overlay.opaque` = x); undefined if not yet read. */
  get xwhiteouts(): boolean | undefined {
    return (this.#bits & XWHITEOUTS_KNOWN) === 0 ? undefined : (this.#bits & XWHITEOUTS) !== 0
  }

  set xwhiteouts(xwhiteouts: boolean | undefined) {
    this.#set(XWHITEOUTS, xwhiteouts === true)
    this.#set(XWHITEOUTS_KNOWN, xwhiteouts !== undefined)
  }

  /** The value of `overlay.redirect` of an upper directory. */
  get redirect(): string | undefined {
    return this.#rare?.redirect
  }

  set redirect(redirect: string | undefined) {
    if (!this.#rare && redirect === undefined) return
    this.#rare ??= new RareFields()
    this.#rare.redirect = redirect
  }

  /** The ctime in ns with which a directory's names were read; 0: not yet read, NaN: too recent to be reliable (option `revalidate`). */
  get ctimeNs(): number {
    return this.#rare?.ctimeNs ?? 0
  }

  set ctimeNs(ctimeNs: number) {
    this.#rare ??= new RareFields()
    this.#rare.ctimeNs = ctimeNs
  }

  /** The file handle of an object without a known name (`parent` is undefined); undefined if only `fd` leads to it. */
  get kernelHandle(): KernelHandle | undefined {
    return this.#rare?.kernelHandle
  }

  set kernelHandle(kernelHandle: KernelHandle | undefined) {
    this.#rare ??= new RareFields()
    this.#rare.kernelHandle = kernelHandle
  }

  /** Where a root whose descriptor may be closed is opened again; undefined for a root that stays open, and for everything else. */
  get place(): RootPlace | undefined {
    return this.#rare?.place
  }

  set place(place: RootPlace | undefined) {
    this.#rare ??= new RareFields()
    this.#rare.place = place
  }

  /** Whether it is an upper directory with objects that have an origin (`overlay.impure`). */
  get impure(): boolean {
    return (this.#bits & IMPURE) !== 0
  }

  set impure(impure: boolean) {
    this.#set(IMPURE, impure)
  }

  /** Whether its extended attributes were listed and none of them affects permissions (`isPlain` in rights.ts). */
  get plain(): boolean {
    return (this.#bits & PLAIN) !== 0
  }

  set plain(plain: boolean) {
    this.#set(PLAIN, plain)
  }

  /** The `stackVersion` in which no lower has an object at this upper object's name; -1 if unknown. */
  get coversNothingIn(): number {
    return (this.#bits >> STACK_VERSION_SHIFT) - 1
  }

  set coversNothingIn(stackVersion: number) {
    this.#bits = (this.#bits & FLAG_BITS) | ((stackVersion + 1) << STACK_VERSION_SHIFT)
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
  /** In a layer that keeps identities (`keepsIdentities`): its origin and its identity, as its marks say; undefined if they say nothing. */
  readonly origin?: Uint8Array | undefined
  readonly identity?: Uint8Array | undefined
}
