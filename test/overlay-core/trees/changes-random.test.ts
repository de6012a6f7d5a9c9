import { lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  mergeTree,
  mount,
  type Overlay,
  parseOptions,
  readChanges,
  readTree,
  type TreeItem,
  TreeWriter,
} from '../../../overlay-core/index.ts'
import { kernelOverlay } from '../../helpers/kernel-mount.ts'
import { ROOT, withOverlay } from '../../helpers/overlay.ts'
import { change, describe, numbers, randomTree } from '../../helpers/random-changes.ts'

const ROUNDS = 10
const CHANGES = 60
const IS_ROOT = process.geteuid?.() === 0

/** Writes items as a layer. Returns the directories that say nothing by themselves. */
async function write(path: string, items: AsyncIterable<TreeItem>): Promise<ReadonlySet<string>> {
  mkdirSync(path)
  const writer = await TreeWriter.open(path)
  try {
    for await (const item of items) await writer.add(item)
    await writer.finish()
    return writer.implied
  } finally {
    writer.close()
  }
}

async function told(overlay: Overlay): Promise<string[]> {
  return [...(await describe(overlay))].map(([path, { text }]) => `${path}: ${text}`).sort()
}

/** What an overlay without an upper shows. */
async function shownBy(lowers: readonly string[]): Promise<string[]> {
  const overlay = await mount(parseOptions(`lowerdir=${lowers.join(':')}`))
  try {
    return await told(overlay)
  } finally {
    await overlay.unmount()
  }
}

async function changesOver(overlay: Overlay, lowers: readonly string[], path: string): Promise<ReadonlySet<string>> {
  const base = await mount(parseOptions(`lowerdir=${lowers.join(':')}`))
  try {
    return await write(path, readChanges(overlay, base))
  } finally {
    await base.unmount()
  }
}

/** What is at a path and below. A whiteout in a directory of one layer alone is in the kernel's listing, but cannot be looked up. */
function seen(dir: string, path = ''): string[] {
  return readdirSync(join(dir, path))
    .sort()
    .flatMap((name) => {
      const at = join(path, name)
      const stat = lstatSync(join(dir, at), { throwIfNoEntry: false })
      if (stat === undefined) return []
      const line = `${at} ${stat.mode} ${stat.uid} ${stat.mtimeMs}`
      return stat.isDirectory() ? [line, ...seen(dir, at)] : [`${line} ${readFileSync(join(dir, at), 'latin1')}`]
    })
}

/** What the kernel shows, without the root, whose owner is that of the view. */
async function kernelShows(dir: string, lowers: readonly string[]): Promise<string[]> {
  const at = join(dir, 'kernel')
  mkdirSync(at, { recursive: true })
  return await kernelOverlay(at, `ro,lowerdir=${lowers.join(':')}`, () => seen(at))
}

t.test(
  'the changes of a view, as a layer on its lowers, show what the view shows; two such layers merge into one',
  async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const below = numbers(round + 1)
      const trees = Array.from({ length: 1 + below(2) }, () => randomTree(below))
      await withOverlay(t, trees, async ({ dir, overlay, lowers, remount }) => {
        for (let i = 0; i < CHANGES; i++) await change(overlay, below)
        const used = below(2) === 0 ? overlay : await remount()
        const first = join(dir, 'first')
        await changesOver(used, lowers, first)
        t.same(await shownBy([first, ...lowers]), await told(used), `round ${round}`)
        const [upper, work] = [join(dir, 'upper2'), join(dir, 'work2')]
        mkdirSync(upper)
        mkdirSync(work)
        const options = `lowerdir=${[first, ...lowers].join(':')},upperdir=${upper},workdir=${work}`
        const next = await mount(parseOptions(options))
        try {
          for (let i = 0; i < CHANGES; i++) await change(next, below)
          const second = join(dir, 'second')
          const implied = await changesOver(next, [first, ...lowers], second)
          const shown = await told(next)
          t.same(await shownBy([second, first, ...lowers]), shown, `round ${round}, on a layer of changes`)
          const both = IS_ROOT ? await kernelShows(dir, [second, first, ...lowers]) : []
          const merged = join(dir, 'merged')
          await write(merged, readTree(first))
          await mergeTree(second, merged, implied)
          t.same(await shownBy([merged, ...lowers]), shown, `round ${round}, merged`)
          if (IS_ROOT) t.same(await kernelShows(dir, [merged, ...lowers]), both, `round ${round}, to the kernel`)
        } finally {
          await next.unmount()
        }
      })
    }
  },
)

t.test('only the wanted paths are told, with the directories above them', async (t) => {
  await withOverlay(t, [{ 'd/a': 'a', 'd/b': 'b', 'e/c': 'c' }], async ({ overlay, lowers }) => {
    const at = async (path: string) => {
      let dir = overlay.root
      for (const name of path.split('/')) dir = (await overlay.lookup(ROOT, dir, name))!
      return dir
    }
    const [d, e] = [await at('d'), await at('e')]
    await overlay.create(ROOT, d, 'new', { mode: 0o644 })
    await overlay.unlink(ROOT, d, 'a')
    await overlay.create(ROOT, e, 'other', { mode: 0o644 })
    const base = await mount(parseOptions(`lowerdir=${lowers.join(':')}`))
    const lines: string[] = []
    for await (const { entry } of readChanges(overlay, base, ['d'])) lines.push(`${entry.type} ${entry.path}`)
    t.same(lines, ['directory ', 'directory d', 'whiteout d/a', 'file d/new'])
    await base.unmount()
  })
})
