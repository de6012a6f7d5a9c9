import type { Time } from '../../../overlay-core/index.ts'

const REMEMBERED = 4096
const remembered = new Map<number, string>()

/** Formats a whole second since the epoch as an HTTP date (RFC 9110 section 5.6.7). */
export function httpDate(sec: number): string {
  let text = remembered.get(sec)
  if (text === undefined) {
    text = new Date(clampSeconds(sec) * 1000).toUTCString()
    // Formatting costs more than a lookup, and the files of a tree share few different seconds.
    if (remembered.size >= REMEMBERED) remembered.clear()
    remembered.set(sec, text)
  }
  return text
}

/** Parses an HTTP date in any of its three forms to seconds since the epoch; undefined if it is not one. */
export function parseHttpDate(text: string): number | undefined {
  if (!/^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)) return undefined
  // asctime() has no time zone, and Date.parse would assume local time.
  const ms = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000)
}

/** Formats a time as RFC 3339 in whole seconds, as `DAV:creationdate` requires. */
export function isoDate(time: Time): string {
  return `${new Date(clampSeconds(time.sec) * 1000).toISOString().slice(0, -5)}Z`
}

/** Limits a time to the years 1 to 9999, which HTTP dates can express. */
function clampSeconds(sec: number): number {
  return Math.min(Math.max(sec, -62_135_596_800), 253_402_300_799)
}
