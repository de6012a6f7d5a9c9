import { isErrno, OverlayError } from '../api/errno.ts'
import type { MaybePromise, Name } from '../api/types.ts'
import type { Alias, OvlInode } from '../objects/dentry.ts'
import { isNameless } from '../objects/nameless.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { leaveFrozenUpper } from './iget.ts'
import { cachedDentry, checkName, lookupDentry } from './namei.ts'
import { dueChain, isUnchanged, lookAtLowers } from './revalidate.ts'

/**
 * Makes sure that `inode`, which a caller has held for some time, can be used now: returns undefined if it can, otherwise a promise. No lock may be held.
 *
 * An object of an earlier stack, or in a directory whose lower has changed, is looked up again by its name. If the same
 * object is found, it is updated to what the layers contain now (`inodeFor` in iget.ts); otherwise only what is open can
 * still be used. With the option `revalidate`, the lowers of `inode` and of its ancestors are checked first if that is due.
 *
 * @throws ESTALE it no longer exists
 */
export function revalidateInode(sb: SuperBlock, inode: OvlInode): Promise<void> | undefined {
  if (inode.unlinked) return undefined
  if (isStale(sb, inode)) return findAgain(sb, inode)
  if (sb.options.revalidate === 'never') return undefined
  const chain = dueChain(sb, inode)
  for (const [at, one] of chain.entries()) {
    if (isStale(sb, one) || !isUnchanged(sb, one)) return compareAll(sb, inode, chain.slice(at))
  }
  return undefined
}

/** Whether `inode` can be used without another lookup. */
export function isCurrent(sb: SuperBlock, inode: OvlInode): boolean {
  return inode.stackVersion === sb.stackVersion && sb.options.revalidate === 'never' && !inode.recheck
}

/** Looks up `name` in `dir`, which is current already. */
export function lookupCurrent(sb: SuperBlock, dir: OvlInode, name: Name): MaybePromise<OvlInode | undefined> {
  const found = lookupName(sb, dir, name)
  return sb.options.revalidate === 'never' ? found : stillThere(sb, dir, name, found)
}

function lookupName(sb: SuperBlock, dir: OvlInode, name: Name): MaybePromise<OvlInode | undefined> {
  const cached = cachedDentry(sb, dir, name)
  if (cached) return cached.inode
  checkName('lookup', name)
  const dentry = lookupDentry(sb, dir, name)
  return dentry instanceof Promise ? dentry.then(({ inode }) => inode) : dentry.inode
}

/** Checks that a cached object has not been replaced in a lower by another one. */
async function stillThere(
  sb: SuperBlock,
  dir: OvlInode,
  name: Name,
  found: MaybePromise<OvlInode | undefined>,
): Promise<OvlInode | undefined> {
  const inode = await found
  try {
    if (inode) await revalidateInode(sb, inode)
    return inode
  } catch (error) {
    if (!isErrno(error, 'ESTALE')) throw error
    return await lookupName(sb, dir, name)
  }
}

function isStale(sb: SuperBlock, inode: OvlInode): boolean {
  return inode.stackVersion !== sb.stackVersion || inode.recheck
}

/** Compares `chain`, the ancestors from the top down with `inode` at the end, with the lowers. */
async function compareAll(sb: SuperBlock, inode: OvlInode, chain: readonly OvlInode[]): Promise<void> {
  for (const one of chain) {
    if (one.unlinked) break
    try {
      const above = one.alias?.dir
      if (isStale(sb, one)) await findAgain(sb, one, above)
      if ((await lookAtLowers(sb, one)) && one !== sb.root) await findAgain(sb, one, above)
    } catch (error) {
      if (one === inode || !isErrno(error, 'ESTALE')) throw error
      break
    }
  }
  // An ancestor no longer exists; the object may still have another name.
  const last = chain.at(-2)
  if (last?.unlinked || isStale(sb, inode)) await findAgain(sb, inode)
}

/** @param current a directory known to be current */
async function findAgain(sb: SuperBlock, inode: OvlInode, current?: OvlInode): Promise<void> {
  for (const { dir, name } of inode.aliases) {
    if (await standsAt(sb, inode, { dir, name }, dir === current)) {
      inode.recheck = false
      return
    }
    // Another caller may have been faster, through another name.
    if (!isStale(sb, inode)) return
  }
  const hasNoName = isNameless(inode) || inode.upper?.layer.frozen === true
  if (inode.aliases.length === 0 && hasNoName && !inode.dataReal) {
    leaveFrozenUpper(inode)
    // It has no name, so no stack of layers can hide it.
    inode.stackVersion = sb.stackVersion
    inode.recheck = false
    return
  }
  leaveStack(sb, inode)
  throw new OverlayError('ESTALE', 'lookup')
}

async function standsAt(sb: SuperBlock, inode: OvlInode, { dir, name }: Alias, current: boolean): Promise<boolean> {
  try {
    if (!current) await revalidateInode(sb, dir)
    return (await lookupDentry(sb, dir, name)).inode === inode
  } catch (error) {
    if (isErrno(error, 'ESTALE', 'ENOENT', 'ENOTDIR')) return false
    throw error
  }
}

/** Like removing the last name: open files can still be read, but nobody finds the object any more. */
function leaveStack(sb: SuperBlock, inode: OvlInode): void {
  inode.unlinked = true
  inode.aliases = []
  inode.changed()
  // The children may be found again in a directory that has replaced this one.
  for (const [name, child] of [...(inode.children ?? [])]) {
    if (child.inode) child.inode.recheck = true
    sb.dcache.remove(inode, name)
  }
  sb.dcache.removeInode(inode)
  if (inode.file?.users === 0) sb.files.drop(inode)
}
