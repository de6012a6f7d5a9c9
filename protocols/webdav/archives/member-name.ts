import type { Name } from '../../../overlay-core/index.ts'

/** For systems where a backslash separates names, as a slash does, and a letter with a colon begins a drive. */
const ESCAPES = /\\|(?<=^[A-Za-z]):/g
/** What such systems take for this directory or the one above, as they drop dots and blanks at the end. */
const ONLY_DOTS = /^\.+[. ]*$/

/**
 * A name as it stands in an archive: one component wherever that is unpacked. A file can be called `..\\..\\x` or `C:x` here, and would leave the folder
 * that it is unpacked into on a system that takes that for a path; such characters are written as in a URL. Others stay as they are.
 */
export function memberName(name: Name): Name {
  const safe = name.replace(ESCAPES, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return ONLY_DOTS.test(safe) ? safe.replaceAll('.', '%2E') : safe
}
