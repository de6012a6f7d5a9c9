import type { Time } from '../../../overlay-core/index.ts'

const REMEMBERED = 4096
const remembered = new Map<number, string>()

/** A whole second since the epoch as an HTTP date (RFC 9110 section 5.6.7). */
export function httpDate(sec: number): string {
  let text = remembered.get(sec)
  if (text === undefined) {
    text = new Date(clampSeconds(sec) * 1000).toUTCString()
    // Formatting costs more than a look-up, and the files of a tree share few seconds.
    if (remembered.size >= REMEMBERED) remembered.clear()
    remembered.set(sec, text)
  }
  return text
}

/** The second that an HTTP date in any of its three forms names; undefined when it is none. */
export function parseHttpDate(text: string): number | undefined {
  if (!/^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)) return undefined
  // asctime() names no zone, and Date.parse would take it for local time.
  const ms = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000)
}

/** A time as RFC 3339 with whole seconds, as `DAV:creationdate` wants it. */
export function isoDate(time: Time): string {
  return `${new Date(clampSeconds(time.sec) * 1000).toISOString().slice(0, -5)}Z`
}

/** Dates that HTTP can write: the years 1 to 9999. */
function clampSeconds(sec: number): number {
  return Math.min(Math.max(sec, -62_135_596_800), 253_402_300_799)
}
