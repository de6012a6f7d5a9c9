import { isErrno } from '../api/errno.ts'
import { type Attr, type Cred, FileType } from '../api/types.ts'
import type { Aspect } from './difference.ts'
import { type FileIn, sameContent } from './same-content.ts'

/** What differs between two objects. Content that the caller may not read counts as the same if the times are. */
export async function aspectsOf(cred: Cred, after: FileIn, before: FileIn): Promise<Aspect[]> {
  const [now, was] = [await after.overlay.getattr(after.inode), await before.overlay.getattr(before.inode)]
  if (now.type !== was.type) return ['type']
  const aspects: Aspect[] = []
  if (now.type === FileType.regular && !(await holdsTheSame(cred, after, before, now, was))) aspects.push('content')
  if (now.type === FileType.symlink && !(await pointsToTheSame(cred, after, before))) aspects.push('target')
  if (now.rdevMajor !== was.rdevMajor || now.rdevMinor !== was.rdevMinor) aspects.push('device')
  if (now.mode !== was.mode) aspects.push('mode')
  if (now.uid !== was.uid || now.gid !== was.gid) aspects.push('owner')
  if (!(await haveTheSameAttributes(cred, after, before))) aspects.push('attributes')
  if (now.type !== FileType.directory && !sameTime(now, was)) aspects.push('time')
  return aspects
}

async function holdsTheSame(cred: Cred, after: FileIn, before: FileIn, now: Attr, was: Attr): Promise<boolean> {
  if (now.size !== was.size) return false
  if (now.size === 0) return true
  try {
    return await sameContent(cred, after, before, now.size)
  } catch (error) {
    if (!isErrno(error, 'EACCES')) throw error
    return sameTime(now, was)
  }
}

async function pointsToTheSame(cred: Cred, after: FileIn, before: FileIn): Promise<boolean> {
  const now = await after.overlay.readlink(cred, after.inode)
  return Buffer.compare(now, await before.overlay.readlink(cred, before.inode)) === 0
}

async function haveTheSameAttributes(cred: Cred, after: FileIn, before: FileIn): Promise<boolean> {
  const [now, was] = await Promise.all([listed(cred, after), listed(cred, before)])
  if (now.length !== was.length || now.some((name, i) => name !== was[i])) return false
  for (const name of now) {
    const value = await after.overlay.getxattr(cred, after.inode, name)
    const other = await before.overlay.getxattr(cred, before.inode, name)
    if (Buffer.compare(value ?? NONE, other ?? NONE) !== 0) return false
  }
  return true
}

const NONE = new Uint8Array()

async function listed(cred: Cred, { overlay, inode }: FileIn): Promise<string[]> {
  return (await overlay.listxattr(cred, inode)).sort()
}

function sameTime({ mtime: a }: Attr, { mtime: b }: Attr): boolean {
  return a.sec === b.sec && a.nsec === b.nsec
}
