import t from 'tap'
import { compare, type Difference, mount, parseOptions } from '../../../overlay-core/index.ts'
import { ROOT, withOverlay } from '../../helpers/overlay.ts'
import { change, type Described, describe, numbers, randomTree } from '../../helpers/random-changes.ts'

const ROUNDS = 40
const CHANGES = 60

/** Makes of a description of the base what the differences say. */
function applied(base: Described, differences: readonly Difference[], now: Described): Map<string, string> {
  const where = new Map<string, string | undefined>()
  for (const { kind, path, from } of differences) {
    if (kind === 'renamed') where.set(from!.join('/'), path.join('/'))
    // A removed object may have been moved under another of its names.
    if (kind === 'removed' && !where.has(path.join('/'))) where.set(path.join('/'), undefined)
  }
  const result = new Map<string, string>()
  for (const [path, { text }] of base) {
    const parts = path.split('/')
    let moved: string | undefined = path
    for (let length = parts.length; length > 0; length--) {
      const above = parts.slice(0, length).join('/')
      if (!where.has(above)) continue
      const to = where.get(above)
      moved = to && [to, ...parts.slice(length)].join('/')
      break
    }
    if (moved !== undefined) result.set(moved, text)
  }
  for (const { kind, path, aspects } of differences) {
    const at = path.join('/')
    if (at !== '' && (kind === 'added' || aspects.some((aspect) => aspect !== 'time')))
      result.set(at, now.get(at)!.text)
  }
  return result
}

t.test('differences, applied to the base, make the overlay', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const below = numbers(round + 1)
    await withOverlay(
      t,
      Array.from({ length: 1 + below(3) }, () => randomTree(below)),
      async ({ overlay, lowers, remount }) => {
        for (let i = 0; i < CHANGES; i++) await change(overlay, below)
        const used = below(2) === 0 ? overlay : await remount()
        const base = await mount(parseOptions(`lowerdir=${lowers.slice(below(lowers.length)).join(':')}`))
        const differences: Difference[] = []
        for await (const each of compare(ROOT, used, base)) differences.push(each)
        const now = await describe(used)
        const made = applied(await describe(base), differences, now)
        const expected = new Map([...now].map(([path, { text }]) => [path, text]))
        const sorted = (map: Map<string, string>) => [...map].map(([path, text]) => `${path}: ${text}`).sort()
        if (!t.same(sorted(made), sorted(expected), `round ${round}`))
          t.comment(
            differences
              .map(({ kind, path, from, aspects }) => `${kind} ${path.join('/')} ${from?.join('/') ?? ''} ${aspects}`)
              .sort()
              .join('\n'),
          )
        await base.unmount()
      },
    )
  }
})
