import type { Time } from '../api/types.ts'

/** What an object of a layer is. `link` is another name of a file before it; `whiteout` hides a name of the layers below. */
export type TreeEntryType = 'file' | 'directory' | 'symlink' | 'link' | 'char' | 'block' | 'fifo' | 'whiteout'

/** An object of a layer, independent of how the layer stores its marks. */
export interface TreeEntry {
  /** From the root of the layer, one code unit for each byte; `''` is the root. Without a slash at either end. */
  readonly path: string
  readonly type: TreeEntryType
  /** 0…0o7777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: Time
  /** The number of bytes of a file; 0 for others. */
  readonly size: number
  /** The target of a symlink; the path of the first name of a link. One code unit for each byte. */
  readonly target?: string
  readonly rdev?: { readonly major: number; readonly minor: number }
  /** Extended attributes by name, without marks of the overlay. */
  readonly xattrs?: ReadonlyMap<string, Uint8Array>
  /** Whether the directory hides what layers below have at its path. */
  readonly opaque?: boolean
}

/** An object of a layer, and how to read the content of a file: pieces in order, `size` bytes together. */
export interface TreeItem {
  readonly entry: TreeEntry
  readonly content?: () => AsyncIterable<Uint8Array>
}

/** The greatest number of names in a path: reading and merging trees keeps a descriptor for each level. */
export const DEEPEST = 1000

/** Attributes that belong to a machine and not to a layer. */
const OF_THE_MACHINE = new Set(['security.selinux', 'security.ima', 'security.evm', 'security.apparmor'])
/** The beginnings of the names of marks; `overlay.overlay.` is an attribute of a client. */
const MARK = /^(trusted|user)\.overlay\.(?!overlay\.)/

/** Whether a layer keeps an attribute with this name. */
export function isKeptXattr(name: string): boolean {
  return !OF_THE_MACHINE.has(name) && !MARK.test(name)
}

/** The name of a mark without its prefix, for example `opaque`; undefined if the attribute is none. */
export function markIn(name: string): string | undefined {
  return MARK.test(name) ? name.replace(MARK, '') : undefined
}
