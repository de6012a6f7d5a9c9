import type { AttrChange, Cred } from '../../overlay-core/index.ts'

/** What is looked at of an object; times and file ids are left to the comparison of the trees. */
export interface DoorStatus {
  readonly type: string
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly size: number
}

/** One side of the comparison by handles; `H` is what it has for a handle. Fails with OverlayError. */
export interface DoorSide<H> {
  find(cred: Cred, dir: H, name: string): Promise<H>
  make(cred: Cred, kind: 'create' | 'mkdir' | 'mkfifo', dir: H, name: string, mode: number): Promise<H>
  symlink(cred: Cred, dir: H, name: string, target: string): Promise<H>
  getattr(handle: H): Promise<DoorStatus>
  setattr(cred: Cred, handle: H, change: AttrChange): Promise<void>
  readlink(cred: Cred, handle: H): Promise<string>
  list(cred: Cred, handle: H): Promise<readonly string[]>
  read(cred: Cred, handle: H, at: number): Promise<Buffer>
  write(cred: Cred, handle: H, at: number, data: Buffer): Promise<void>
  link(cred: Cred, handle: H, dir: H, name: string): Promise<void>
  remove(cred: Cred, kind: 'remove' | 'rmdir', dir: H, name: string): Promise<void>
  rename(cred: Cred, dir: H, name: string, toDir: H, toName: string): Promise<void>
}

/** How many bytes a read asks for. */
export const READ_BYTES = 20_000
