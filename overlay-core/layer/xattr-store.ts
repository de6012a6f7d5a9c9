import type { MaybePromise } from '../api/types.ts'
import { getXattr, listXattr, removeXattr, setXattr } from '../sys/xattr.ts'
import type { UpperName } from './intent-log.ts'

/**
 * Extended attributes of objects in layers. They are on disk, except that the overlay's own attributes are stored elsewhere (`XattrSidecar`) if the
 * upper's file system has none. An object is named as in `sys/xattr.ts`: a name in `dirFd`, or '' for the descriptor itself.
 */
export interface XattrStore {
  /** Whether attributes of upper objects are found by name and not by descriptor. */
  readonly byName: boolean
  get(dirFd: number, name: string, attr: string): Promise<Uint8Array | undefined>
  /** @throws EOPNOTSUPP the file system has no attributes, and this one is not the overlay's own */
  set(dirFd: number, name: string, attr: string, value: Uint8Array, flags?: number): Promise<void>
  remove(dirFd: number, name: string, attr: string): Promise<void>
  list(dirFd: number, name: string): Promise<string[]>
  /** Runs `change`, which renames an upper object, replacing the object with the new name. */
  moving(from: UpperName, to: UpperName, change: () => Promise<void>): Promise<void>
  /** Runs `change`, which gives an upper object another name. */
  linking(from: UpperName, to: UpperName, change: () => Promise<void>): Promise<void>
  /** Must be called after an upper name was removed. */
  removed(name: UpperName): MaybePromise<void | Promise<void>>
  /** Makes attributes durable that are stored elsewhere; undefined if there are none. */
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
