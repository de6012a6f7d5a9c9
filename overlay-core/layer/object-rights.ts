import { ACL_ACCESS, ACL_DEFAULT, type AccessAcl } from './acl.ts'
import { OVERRIDE_STAT, type OverrideStat } from './override-stat.ts'

/**
 * What affects permissions besides owner, group and mode on disk. It is stored in extended attributes, so it is read once per object, when
 * first needed, and cached in the inode. Every change through the core updates it.
 */
export interface Rights {
  /** The part of the access ACL beyond the mode. */
  readonly acl: AccessAcl | undefined
  /** The encoded default ACL of a directory. */
  readonly defaultAcl: Uint8Array | undefined
  /** Owner, group and mode that replace those on disk; only read without root. */
  readonly owner: OverrideStat | undefined
}

/** The rights of an object for which only owner, group and mode on disk count. */
export const PLAIN: Rights = { acl: undefined, defaultAcl: undefined, owner: undefined }

const IN_ATTRIBUTES: readonly string[] = [ACL_ACCESS, ACL_DEFAULT, OVERRIDE_STAT]

/** Whether the names of an object's extended attributes show that its rights are plain. */
export function isPlain(names: readonly string[]): boolean {
  return !names.some((name) => IN_ATTRIBUTES.includes(name))
}
