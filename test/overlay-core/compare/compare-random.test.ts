import t from 'tap'
import {
  compare,
  type Difference,
  FileType,
  type Inode,
  mount,
  type Overlay,
  parseOptions,
} from '../../../overlay-core/index.ts'
import { ROOT, type Tree, withOverlay } from '../../helpers/overlay.ts'

const ROUNDS = 40
const CHANGES = 60
const NAMES = ['a', 'b', 'c', 'd', 'e']

/** A small generator of numbers below `most`, the same for the same seed. */
function numbers(seed: number): (most: number) => number {
  let state = seed
  return (most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * most)
  }
}

type Described = Map<string, { inode: Inode; text: string }>

/** Each path with what is there: type, mode, size and content. */
async function describe(
  overlay: Overlay,
  dir = overlay.root,
  path = '',
  into: Described = new Map(),
): Promise<Described> {
  const names: string[] = []
  await overlay.readdir(ROOT, dir, 0, ({ name }) => names.push(name) > 0)
  for (const name of names) {
    const inode = (await overlay.lookup(ROOT, dir, name)) as Inode
    const { type, mode, size } = await overlay.getattr(inode)
    const at = path === '' ? name : `${path}/${name}`
    if (type === FileType.directory) {
      into.set(at, { inode, text: `directory ${mode}` })
      await describe(overlay, inode, at, into)
    } else {
      const content = Buffer.alloc(size)
      await overlay.read(ROOT, inode, content, 0, size, 0)
      into.set(at, { inode, text: `file ${mode} ${content}` })
    }
  }
  return into
}

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

/** A random tree of three levels. */
function randomTree(below: (most: number) => number): Tree {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 25; i++) {
    const path = Array.from({ length: 1 + below(3) }, () => NAMES[below(NAMES.length)] as string)
    const isTaken = path.some((_, at) => tree[path.slice(0, at + 1).join('/')] !== undefined)
    if (isTaken || Object.keys(tree).some((other) => other.startsWith(`${path.join('/')}/`))) continue
    tree[path.join('/')] = `content ${i}`
  }
  return tree
}

/** Changes something at random. What is not possible fails, and changes nothing. */
async function change(overlay: Overlay, below: (most: number) => number): Promise<void> {
  const all = await describe(overlay)
  const directories = [
    overlay.root,
    ...[...all.values()].filter(({ text }) => text.startsWith('d')).map((each) => each.inode),
  ]
  const pick = () => directories[below(directories.length)] as Inode
  const name = () => NAMES[below(NAMES.length)] as string
  const dir = pick()
  const doing = [
    async () => await overlay.create(ROOT, dir, name(), { mode: 0o640 }),
    async () => await overlay.mkdir(ROOT, dir, name(), { mode: 0o755 }),
    async () => await overlay.unlink(ROOT, dir, name()),
    async () => await overlay.rmdir(ROOT, dir, name()),
    async () => {
      const file = await overlay.lookup(ROOT, dir, name())
      if (file?.type === FileType.regular)
        await overlay.write(ROOT, file, Buffer.from(`written ${below(1e6)}`), 0, 'unstable')
    },
    async () => {
      const object = await overlay.lookup(ROOT, dir, name())
      if (object) await overlay.setattr(ROOT, object, { mode: below(0o1000) })
    },
    async () => await overlay.rename(ROOT, dir, name(), pick(), name()),
    async () => await overlay.rename(ROOT, dir, name(), pick(), name()),
    async () => await overlay.rename(ROOT, dir, name(), pick(), name(), { exchange: true }),
  ]
  await doing[below(doing.length)]!().catch(() => undefined)
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
