import { loopBudget } from './loop-turn.ts'

/** The number of items sorted at once, in well below a millisecond. */
const PART = 256

/** Like `toSorted`, also stable, for lists of any length without blocking the event loop. */
export async function sortInTurns<T>(items: readonly T[], compare: (a: T, b: T) => number): Promise<T[]> {
  let from: T[] = []
  for (let start = 0; start < items.length; start += PART) {
    const part = items.slice(start, start + PART).sort(compare)
    for (const item of part) from.push(item)
    await loopBudget.rest()
  }
  for (let width = PART; width < from.length; width *= 2) from = await mergePairs(from, width, compare)
  return from
}

/** Merges adjacent sorted runs of `width` items in pairs. */
async function mergePairs<T>(from: readonly T[], width: number, compare: (a: T, b: T) => number): Promise<T[]> {
  const to: T[] = []
  for (let start = 0; start < from.length; start += 2 * width) {
    const middle = Math.min(start + width, from.length)
    const end = Math.min(start + 2 * width, from.length)
    let left = start
    let right = middle
    while (left < middle || right < end) {
      if (loopBudget.spent) await loopBudget.rest()
      const takeLeft = right >= end || (left < middle && compare(from[left] as T, from[right] as T) <= 0)
      to.push(from[takeLeft ? left++ : right++] as T)
    }
  }
  return to
}
