import { OptionError } from '../../overlay-core/index.ts'

/** What extended headers say about the next member, by their keys. Values are bytes, one code unit each. */
export type Pax = Map<string, string>

/** A text up to its NUL. One code unit for each byte. */
export function textIn(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end)
}

/** A number in octal digits, or in binary if it is too large for those (GNU). */
export function numberAt(header: Buffer, at: number, width: number): number {
  const first = header[at] as number
  if ((first & 0x80) === 0) {
    const digits = textIn(header.subarray(at, at + width)).trim()
    if (!/^[0-7]*$/.test(digits)) throw new OptionError('from', 'is no tar file, or the archive is damaged')
    return digits === '' ? 0 : Number.parseInt(digits, 8)
  }
  let value = BigInt(first & 0x7f)
  for (let i = 1; i < width; i++) value = value * 256n + BigInt(header[at + i] as number)
  // 0xff begins a negative number.
  const number = Number(first === 0xff ? value - (1n << BigInt(8 * width - 1)) : value)
  if (!Number.isSafeInteger(number)) throw new OptionError('from', 'the archive has a number that is too large')
  return number
}

/** The error of an archive that is not whole. */
export function cutShort(): OptionError {
  return new OptionError('from', 'the archive ends too early; fetch it again')
}
