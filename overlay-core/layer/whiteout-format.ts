import type { FileType, MaybePromise, Name } from '../api/types.ts'
import type { Probe, Real } from './layer.ts'
import type { UpperContext } from './upper-context.ts'

/** Marks a name whose lower objects are hidden. */
export const WHITEOUT = Symbol('whiteout')

/**
 * The record in the root of a layer with whiteouts as files: a name that tools for such layers leave alone. In no form a client makes it.
 */
export const ROOT_RECORD_NAME = '.wh..wh.overlayd'

/** What a layer has at a name: an object, a whiteout, or nothing that it would say of this name. */
export type NameState = Probe | typeof WHITEOUT | undefined

/** A change of place in the upper. `to` is free, shows nothing (a whiteout), or holds a non-directory that is replaced. */
export interface UpperMove {
  readonly from: Real
  readonly fromName: Name
  readonly to: Real
  readonly toName: Name
  /** What moves is a directory. */
  readonly directory: boolean
  /** A directory that shows nothing, but may hold whiteouts, stands at `to` and is replaced. Only where `replacesDirectories`. */
  readonly replacesDirectory: boolean
  /** A lower would show at the old name: a whiteout has to stand there afterwards. */
  readonly cover: boolean
}

/**
 * The format in which a layer stores hidden names and opaque directories. The kernel's format is `deviceForm`, that of AUFS, OCI
 * layers and fuse-overlayfs is `filesForm`. The rest of the core does not depend on the format.
 *
 * The second half changes the upper: each method is one visible step, also after a crash. The caller holds the locks of the directories.
 */
export interface WhiteoutFormat {
  readonly whiteouts: 'device' | 'files'
  /** `move` puts a directory in the place of one that holds marks. */
  readonly replacesDirectories: boolean

  /** Whether `name` belongs to the form: it is shown to nobody, and nobody can make it. */
  reserves(name: Name): boolean
  /** The name that an entry called `name` hides below, as far as its name alone says. */
  hiddenBy(name: Name): Name | undefined
  /** The object at `name` of directory `dir`. The caller owns the descriptor. */
  standingAt(context: UpperContext, dir: Real, name: Name): MaybePromise<NameState>
  /** Whether directory `dir` is opaque by another mark than the attribute. */
  isOpaque(context: UpperContext, dir: Real): MaybePromise<boolean>

  /** Marks the directory `name` below `dirFd` opaque, with '' that of `dirFd` itself. Its times may change. */
  setOpaque(context: UpperContext, dirFd: number, name: string): Promise<void>
  /** Gives the finished object `temp` of the work directory the name `name`, where nothing or a whiteout stands. */
  publish(
    context: UpperContext,
    temp: Name,
    dir: Real,
    name: Name,
    directory: boolean,
    standing: NameState,
  ): Promise<void>
  /**
   * Gives the finished file `temp` the name of whatever non-directory, or nothing, stands there; `standing` tells that an upper object is known to. Returns whether its
   * content must be sent on its way to the disk (`Writeback`).
   */
  replace(context: UpperContext, temp: Name, dir: Real, name: Name, standing: boolean): Promise<boolean>
  /** Gives the object `source` a further name, where nothing or a whiteout stands. */
  link(context: UpperContext, source: Real, dir: Real, name: Name): Promise<void>
  /**
   * Hides `name`, at which `present` stood. A replaced object is gone afterwards; a replaced directory waits in the work directory under
   * the returned name.
   */
  cover(context: UpperContext, dir: Real, name: Name, present: FileType | undefined): Promise<Name | undefined>
  /** Takes the whiteout at `name` away: what lies below shows again. */
  uncover(context: UpperContext, dir: Real, name: Name): Promise<void>
  move(context: UpperContext, move: UpperMove): Promise<void>
  /** Exchanges two objects. */
  exchange(context: UpperContext, a: Real, aName: Name, b: Real, bName: Name): Promise<void>
}

/** The object of the layer of `dir` at `name`. The caller owns the descriptor. */
export function nameStateAt(context: UpperContext, dir: Real, name: Name): MaybePromise<NameState> {
  return dir.layer.marks.standingAt(context, dir, name)
}

/** Whether the layer of `dir` hides `name`. */
export async function isHidden(context: UpperContext, dir: Real, name: Name): Promise<boolean> {
  const standing = await nameStateAt(context, dir, name)
  if (isObject(standing) && standing.fd >= 0) context.descriptors.retire(standing.fd)
  return standing === WHITEOUT
}

/** Whether a visible object is there. */
export function isObject(standing: NameState): standing is Probe {
  return standing !== undefined && standing !== WHITEOUT
}
