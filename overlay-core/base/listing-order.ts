import type { Name } from '../api/types.ts'
import { loopBudget } from './loop-turn.ts'

/** The parts of an entry that determine its order. */
export interface Ordered {
  readonly name: Name
  readonly cookie: number
}

/** Cookies are hashes, spread evenly from 0 to here. */
const COOKIE_RANGE = 2 ** 52
/** The number of entries that are sorted at once. */
const PART = 256

/**
 * Sorts by cookie and makes equal cookies distinct, in the order of the names. A large directory is sorted in parts, so that the event
 * loop is never blocked.
 */
export async function inOrder<T extends Ordered>(entries: readonly T[]): Promise<T[]> {
  const parts: T[][] = Array.from({ length: Math.ceil(entries.length / PART) || 1 }, () => [])
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as T
    const part = Math.min(parts.length - 1, Math.floor((entry.cookie / COOKIE_RANGE) * parts.length))
    ;(parts[part] as T[]).push(entry)
    if (loopBudget.spent) await loopBudget.rest()
  }
  const sorted: T[] = []
  for (const part of parts) {
    part.sort((a, b) => a.cookie - b.cookie || (a.name < b.name ? -1 : 1))
    for (const entry of part) {
      append(sorted, entry)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }
  return sorted
}

function append<T extends Ordered>(sorted: T[], entry: T): void {
  const before = sorted.at(-1)?.cookie ?? 0
  sorted.push(entry.cookie > before ? entry : { ...entry, cookie: before + 1 })
}
