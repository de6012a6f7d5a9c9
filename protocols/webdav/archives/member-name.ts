import type { Name } from '../../../overlay-core/index.ts'

/** Characters that separate names or start a drive on some systems: a backslash, or a letter with a colon. */
const ESCAPES = /\\|(?<=^[A-Za-z]):/g
/** Names that such systems treat as `.` or `..`, because they drop trailing dots and blanks. */
const ONLY_DOTS = /^\.+[. ]*$/

/**
 * The name of a member in an archive, which is a single component on every system. A file may be named `..\\..\\x` or `C:x` here and would escape from the folder
 * on a system that treats this as a path, so such characters are percent-encoded. Others stay unchanged.
 */
export function memberName(name: Name): Name {
  const safe = name.replace(ESCAPES, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return ONLY_DOTS.test(safe) ? safe.replaceAll('.', '%2E') : safe
}
