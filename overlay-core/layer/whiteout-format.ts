import type { FileType, MaybePromise, Name } from '../api/types.ts'
import type { Probe, Real } from './layer.ts'
import type { UpperContext } from './upper-context.ts'

/** Marks a name whose lower objects are hidden. */
export const WHITEOUT = Symbol('whiteout')

/**
 * The record in the root of a layer with whiteouts as files. Tools for such layers ignore this name, and no format lets a client create it.
 */
export const ROOT_RECORD_NAME = '.wh..wh.overlayd'

/** The state of a name in a layer: an object, a whiteout, or undefined if the layer says nothing about it. */
export type NameState = Probe | typeof WHITEOUT | undefined

/** A move in the upper. `to` is absent, a whiteout, an empty directory, or a non-directory to be replaced. */
export interface UpperMove {
  readonly from: Real
  readonly fromName: Name
  readonly to: Real
  readonly toName: Name
  /** Whether the moved object is a directory. */
  readonly directory: boolean
  /** Whether `to` is a directory that looks empty but may contain whiteouts, to be replaced. Only with `replacesDirectories`. */
  readonly replacesDirectory: boolean
  /** Whether a whiteout must be left at the old name, because a lower would become visible there. */
  readonly cover: boolean
}

/**
 * The format in which a layer stores hidden names and opaque directories. The kernel's format is `deviceFormat`, that of AUFS, OCI
 * layers and fuse-overlayfs is `fileFormat`. The rest of the core does not depend on the format.
 *
 * The second half changes the upper: each method is one visible step, also after a crash. The caller holds the locks of the directories.
 */
export interface WhiteoutFormat {
  readonly whiteouts: 'device' | 'files'
  /** Whether `move` can replace a directory that contains marks. */
  readonly replacesDirectories: boolean

  /** Whether `name` is reserved by the format: it is never shown, and nobody can create it. */
  reserves(name: Name): boolean
  /** The name in the lowers that an entry called `name` hides, judging by its name alone. */
  hiddenBy(name: Name): Name | undefined
  /** The object at `name` of directory `dir`. The caller owns the descriptor. */
  standingAt(context: UpperContext, dir: Real, name: Name): MaybePromise<NameState>
  /** Whether directory `dir` is marked as opaque in another way than by the attribute. */
  isOpaque(context: UpperContext, dir: Real): MaybePromise<boolean>

  /** Marks the directory `name` in `dirFd` as opaque, or with '' `dirFd` itself. May change its times. */
  setOpaque(context: UpperContext, dirFd: number, name: string): Promise<void>
  /** Gives the finished object `temp` of the work directory the name `name`, which is absent or a whiteout. */
  publish(
    context: UpperContext,
    temp: Name,
    dir: Real,
    name: Name,
    directory: boolean,
    standing: NameState,
  ): Promise<void>
  /**
   * Gives the finished file `temp` the name `name`, which is absent or a non-directory; `standing` tells whether an upper object is known to be there.
   * Returns whether the caller must start writing its content to the disk (`Writeback`).
   */
  replace(context: UpperContext, temp: Name, dir: Real, name: Name, standing: boolean): Promise<boolean>
  /** Gives the object `source` another name, which is absent or a whiteout. */
  link(context: UpperContext, source: Real, dir: Real, name: Name): Promise<void>
  /**
   * Hides `name`, which was `present` before. A non-directory is removed; a directory is moved to the work directory, under the returned
   * name.
   */
  cover(context: UpperContext, dir: Real, name: Name, present: FileType | undefined): Promise<Name | undefined>
  /** Removes the whiteout at `name`, so that the lowers become visible again. */
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

/** Whether the state is a visible object. */
export function isObject(standing: NameState): standing is Probe {
  return standing !== undefined && standing !== WHITEOUT
}
