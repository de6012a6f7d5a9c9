import type { MaybePromise } from '../api/types.ts'
import { getXattr, listXattr, removeXattr, setXattr } from '../sys/xattr.ts'
import type { UpperName } from './intent-log.ts'

/**
 * Extended attributes of objects in layers: those on disk, and where the upper's file system has none, those that the overlay needs for
 * itself, kept elsewhere (`XattrSidecar`). An object is named as in `sys/xattr.ts`: a name below `dirFd`, or '' for the descriptor itself.
 */
export interface XattrStore {
  /** Those of upper objects are found by their names, not by descriptors of files. */
  readonly byName: boolean
  get(dirFd: number, name: string, attr: string): Promise<Uint8Array | undefined>
  /** @throws EOPNOTSUPP the file system has none, and the overlay does not need this one */
  set(dirFd: number, name: string, attr: string, value: Uint8Array, flags?: number): Promise<void>
  remove(dirFd: number, name: string, attr: string): Promise<void>
  list(dirFd: number, name: string): Promise<string[]>
  /** Runs `change`, which gives an upper object another name, in the place of what has that. */
  moving(from: UpperName, to: UpperName, change: () => Promise<void>): Promise<void>
  /** Runs `change`, which gives an upper object a further name. */
  linking(from: UpperName, to: UpperName, change: () => Promise<void>): Promise<void>
  /** To be called after an upper name is gone. */
  removed(name: UpperName): MaybePromise<void | Promise<void>>
  /** Makes durable what is not kept with the objects. Undefined when nothing is kept elsewhere. */
  sync(): Promise<void> | undefined
  close(): void
}

/** A store with only the attributes on disk. */
export const diskXattrs: XattrStore = {
  byName: false,
  get: getXattr,
  set: setXattr,
  remove: removeXattr,
  list: listXattr,
  moving: (_from, _to, change) => change(),
  linking: (_from, _to, change) => change(),
  removed: () => undefined,
  sync: () => undefined,
  close: () => undefined,
}
