import { OverlayError } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import type { Attr, Cred, LookupAttrs, MaybePromise, Name } from '../api/types.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor, getattr, needAccess } from '../objects/inode.ts'
import { EXECUTE, may } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { cachedDentry } from './namei.ts'
import { lookupCurrent, revalidateInode } from './revalidate-inode.ts'

/** @see Overlay.lookup — `dir` must be current. Returns synchronously if everything is cached. */
export function lookup(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  asked: LookupAttrs | undefined,
): MaybePromise<OvlInode | undefined> {
  const attr = attrFor(sb, cred, dir)
  if (attr instanceof Promise) return attr.then((now) => search(sb, cred, dir, now, name, asked))
  return search(sb, cred, dir, attr, name, asked)
}

/** @see Overlay.parent — `dir` must be current. */
export function lookupParent(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  asked: LookupAttrs | undefined,
): MaybePromise<OvlInode> {
  return after(needAccess(sb, cred, dir, EXECUTE, 'lookup'), () => {
    const parent = dir === sb.root ? dir : dir.alias?.dir
    if (!parent) throw new OverlayError('ESTALE', 'lookup')
    if (asked === undefined) return parent
    return after(revalidateInode(sb, parent), () => withAttributes(sb, dir, parent, asked))
  })
}

function search(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  attr: CheckedAttr,
  name: Name,
  asked: LookupAttrs | undefined,
): MaybePromise<OvlInode | undefined> {
  if (!may(cred, attr, EXECUTE)) throw new OverlayError('EACCES', 'lookup')
  const cached = cachedDentry(sb, dir, name)
  // Cached names of unchanging lowers are right.
  const found = cached && sb.options.revalidate === 'never' ? cached.inode : lookupCurrent(sb, dir, name)
  if (asked === undefined) return found
  if (found instanceof Promise) return found.then((inode) => withAttributes(sb, dir, inode, asked))
  return withAttributes(sb, dir, found, asked)
}

function withAttributes<T extends OvlInode | undefined>(
  sb: SuperBlock,
  dir: OvlInode,
  inode: T,
  asked: LookupAttrs,
): MaybePromise<T> {
  const attr = inode && (inode.attr ?? getattr(sb, inode))
  const dirAttr = dir.attr ?? getattr(sb, dir)
  if (attr instanceof Promise || dirAttr instanceof Promise) return filled(asked, inode, attr, dirAttr)
  asked.attr = attr
  asked.dirAttr = dirAttr
  return inode
}

async function filled<T>(
  asked: LookupAttrs,
  inode: T,
  attr: MaybePromise<Attr> | undefined,
  dirAttr: MaybePromise<Attr>,
): Promise<T> {
  ;[asked.attr, asked.dirAttr] = await Promise.all([attr, dirAttr])
  return inode
}
