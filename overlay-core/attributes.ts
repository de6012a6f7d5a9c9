import { getXattr, listXattr, removeXattr, setXattr } from './sys/xattr.ts'
import type { Maybe } from './types.ts'

/**
 * Extended attributes of objects in layers: those on disk, and where the upper's file system has none, those that the overlay needs for
 * itself, kept elsewhere (`Shelf`). An object is named as in `sys/xattr.ts`: a name below `dirFd`, or '' for the descriptor itself.
 */
export interface Attributes {
  get(dirFd: number, name: string, attr: string): Promise<Uint8Array | undefined>
  /** @throws EOPNOTSUPP the file system has none, and the overlay does not need this one */
  set(dirFd: number, name: string, attr: string, value: Uint8Array, flags?: number): Promise<void>
  remove(dirFd: number, name: string, attr: string): Promise<void>
  list(dirFd: number, name: string): Promise<string[]>
  /** To be called for each object just made in the upper: it has no attributes, whatever is known of one with its inode number. */
  born(dirFd: number, name: string): Maybe<void>
}

/** The attributes on disk and no others. */
export const diskAttributes: Attributes = {
  get: getXattr,
  set: setXattr,
  remove: removeXattr,
  list: listXattr,
  born: () => undefined,
}
