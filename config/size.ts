const UNITS = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 } as const

/** The number of bytes in a text like `500M`, with units of 1024; undefined if it is none, or 0. */
export function bytesOf(text: string): number | undefined {
  const [, count, unit = ''] = /^(\d{1,15})([KMGT])?$/.exec(text) ?? []
  const bytes = Number(count) * UNITS[unit as keyof typeof UNITS]
  return bytes >= 1 && Number.isSafeInteger(bytes) ? bytes : undefined
}
