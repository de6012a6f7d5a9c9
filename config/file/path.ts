import { OptionError } from '../../overlay-core/index.ts'

const LONGEST = 4095

/** Makes a path absolute; a relative one starts at `directory`. `..` is left to the kernel. @throws OptionError not a path */
export function absolutePath(text: string, directory: string): string {
  if (text === '') throw new OptionError('path', 'a path cannot be empty; use "." for the directory of this file')
  if (text.includes('\0')) throw new OptionError('path', 'a path cannot contain a NUL byte')
  const relative = text.replace(/^(\.\/+)+/, '').replace(/^\.$/, '')
  const base = directory === '/' ? '' : directory
  const path = text.startsWith('/') ? text : relative === '' ? directory : `${base}/${relative}`
  const trimmed = path.replace(/(?<=.)\/+$/, '')
  if (Buffer.byteLength(trimmed) > LONGEST)
    throw new OptionError('path', `a path can have at most ${LONGEST} bytes; use a shorter one`)
  return trimmed
}
