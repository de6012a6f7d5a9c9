import { hashError } from '../passwords/password-hash.ts'

/** A line of a password file. */
export interface PasswordEntry {
  readonly name: string
  readonly hash: string
}

/** The longest login name, in bytes of UTF-8. */
export const MOST_NAME_BYTES = 255

/** The error in a login name; undefined if there may be such an account. A colon would end it, in the file and in a request (RFC 7617 section 2). */
export function loginNameError(name: string): string | undefined {
  const shown = JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name)
  if (name === '') return 'the name is empty; give a name'
  if (Buffer.byteLength(name) > MOST_NAME_BYTES)
    return `${shown} is longer than ${MOST_NAME_BYTES} bytes; use a shorter name`
  if (/[\p{C}\p{Zl}\p{Zp}:/\\\uFFFD]/u.test(name))
    return `${shown} contains a colon, a slash or a control character; use letters and digits`
  if (/^[-~#\s.]|\s$/u.test(name))
    return `${shown} starts with - ~ # or a dot, or starts or ends with a space; remove that`
  if (name.normalize('NFC') !== name) return `${shown} is not in Unicode form NFC; write it with composed characters`
  return undefined
}

/** Parses a password file: `NAME:HASH` on each line, further fields ignored; `#` begins a comment. Lines with errors are left out and reported. */
export function parsePasswordFile(text: string): {
  readonly entries: ReadonlyMap<string, PasswordEntry>
  readonly problems: readonly string[]
} {
  const entries = new Map<string, PasswordEntry>()
  const problems: string[] = []
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '')
    if (line.trim() === '' || line.startsWith('#')) continue
    const [name = '', hash = ''] = line.split(':')
    const wrong = loginNameError(name) ?? (entries.has(name) ? `${name} has two lines; remove one` : undefined)
    const weak = wrong === undefined ? hashError(hash) : undefined
    if (wrong !== undefined) problems.push(`line ${at + 1}: ${wrong}`)
    else if (weak !== undefined) problems.push(`line ${at + 1}: the password of ${name} ${weak}`)
    else entries.set(name, { name, hash })
  }
  return { entries, problems }
}
