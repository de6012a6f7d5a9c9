/** The maximum length of the name of a view, in bytes of UTF-8: that of a login name in useradd(8) is 32, and that of a file name 255. */
const MOST_BYTES = 255
/** Control and format characters, lone surrogates, unassigned code points and line separators; also what cannot be in a path. */
const FORBIDDEN = /[\p{C}\p{Zl}\p{Zp}/\\\uFFFD]/u

/**
 * The error in the name of a user or machine; undefined if a view may have this name. Names are in Unicode form NFC, so that two forms of one name cannot
 * mean two views.
 */
export function viewNameError(name: string): string | undefined {
  const shown = JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name).replace(
    new RegExp(FORBIDDEN, 'gu'),
    '?',
  )
  if (name === '') return 'the name of a view is empty; give the name of a user'
  if (Buffer.byteLength(name) > MOST_BYTES) return `${shown} is longer than ${MOST_BYTES} bytes; use a shorter name`
  if (FORBIDDEN.test(name))
    return `${shown} contains a slash, a control character or no valid text; use letters and digits`
  if (/^\.+$/.test(name)) return `${shown} consists of dots; use letters and digits`
  if (/^[-~\s]|\s$/u.test(name)) return `${shown} starts with - or ~, or starts or ends with a space; remove that`
  if (name.normalize('NFC') !== name) return `${shown} is not in Unicode form NFC; write it with composed characters`
  return undefined
}

/** Names with the same result differ only in case or in their Unicode form; only one of them can be a view. */
export function foldedName(name: string): string {
  return name.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase().normalize('NFKC')
}
