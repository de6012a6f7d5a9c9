import type { Attr, Inode } from '../../../overlay-core/index.ts'
import { MemberView } from '../exports/export-table.ts'
import type { Grant, ServedView } from '../exports/served-view.ts'
import { JUNCTION_ID_HI } from './pseudo-root.ts'

/** What a current or saved filehandle of a COMPOUND stands for: an object of a view, the pseudo-root above all exports, or nothing yet. */
export class FileRef {
  kind: 'none' | 'root' | 'object' = 'none'
  served: ServedView | undefined
  inode: Inode | undefined
  grant: Grant | undefined
  /** Whether the caller may only mount it: the root of a view of a template that belongs to somebody else. */
  mountOnly = false

  clear(): void {
    this.kind = 'none'
    this.served = undefined
    this.inode = undefined
    this.grant = undefined
    this.mountOnly = false
  }

  set({ kind, served, inode, grant, mountOnly }: FileRef): void {
    this.kind = kind
    this.served = served
    this.inode = inode
    this.grant = grant
    this.mountOnly = mountOnly
  }

  setRoot(): void {
    this.clear()
    this.kind = 'root'
  }

  setObject(served: ServedView, inode: Inode, grant: Grant, mountOnly = false): void {
    this.kind = 'object'
    this.served = served
    this.inode = inode
    this.grant = grant
    this.mountOnly = mountOnly
  }
}

/** Where a name in the pseudo-root, or in the root of a template, is: the high and the low half of `mounted_on_fileid` of the view there; undefined for any other object. */
export function junctionOf(served: ServedView, inode: Inode): { hi: number; lo: number } | undefined {
  if (inode !== served.overlay.root) return undefined
  return served instanceof MemberView ? { hi: served.viewHi, lo: served.view } : { hi: JUNCTION_ID_HI, lo: served.view }
}

/** The change attribute of an object (RFC 8881 section 5.8.1.4): its ctime, as 34 bits of seconds and 30 of nanoseconds, as knfsd does where there is no counter. */
export function changeOf({ ctime: { sec, nsec } }: Pick<Attr, 'ctime'>): { hi: number; lo: number } {
  return { hi: (sec >>> 2) + (Math.floor(sec / 0x1_0000_0000) & 3) * 0x4000_0000, lo: ((sec & 3) << 30) | nsec }
}
