import {
  type DirEntry,
  type DirEntryPlus,
  FileType,
  type Inode,
  type MaybePromise,
} from '../../../overlay-core/index.ts'
import type { NfsMember } from '../exports/served-view.ts'
import type { Nfs3Call } from './nfs3-call.ts'

/** Like `Overlay.readdir`; the root of a template lists its views that the caller may use. */
export function entries(
  call: Nfs3Call,
  dir: Inode,
  cookie: number,
  fill: (entry: DirEntry) => boolean,
): MaybePromise<boolean> {
  const { members } = call.served
  return members === undefined ? call.overlay.readdir(call.cred, dir, cookie, fill) : listed(call, cookie, fill)
}

/** Like `Overlay.readdirPlus`. The views of a template are listed without attributes, because that would open all of them. */
export function entriesPlus(
  call: Nfs3Call,
  dir: Inode,
  cookie: number,
  fill: (entry: DirEntryPlus) => boolean,
): MaybePromise<boolean> {
  const { members } = call.served
  if (members === undefined) return call.overlay.readdirPlus(call.cred, dir, cookie, fill)
  return listed(call, cookie, (entry) => fill({ ...entry, inode: undefined, attr: undefined }))
}

function listed(call: Nfs3Call, cookie: number, fill: (entry: DirEntry) => boolean): boolean {
  const { served, cred, rpc, grant } = call
  const who = grant.asOwner ? undefined : cred
  for (const member of served.members!.list(who, rpc.peer, cookie)) if (!fill(entryOf(member))) return false
  return true
}

function entryOf({ name, viewHi, view, order }: NfsMember): DirEntry {
  return { name, type: FileType.directory, fileIdHi: viewHi, fileIdLo: view, cookie: order }
}
