/**
 * Finds a short list of `items` for which `fails` still answers with something: leaves out ever smaller parts, as long as that makes
 * it shorter (delta debugging).
 *
 * @param fails the failure of a list, cut after the item that shows it; undefined when it passes
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<readonly T[] | undefined>,
): Promise<readonly T[]> {
  let best = items
  let size = Math.max(1, Math.ceil(best.length / 2))
  for (;;) {
    let shorter = false
    for (let start = Math.max(0, best.length - size); ; start = Math.max(0, start - size)) {
      const rest = [...best.slice(0, start), ...best.slice(start + size)]
      const failing = rest.length < best.length ? await fails(rest) : undefined
      if (failing) {
        best = failing
        shorter = true
        start = Math.min(start, best.length)
      }
      if (start === 0) break
    }
    if (size === 1 && !shorter) return best
    if (!shorter || size > best.length) size = Math.max(1, Math.ceil(Math.min(size, best.length) / 2))
  }
}
