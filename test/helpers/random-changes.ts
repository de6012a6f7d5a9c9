import { FileType, type Inode, type Overlay } from '../../overlay-core/index.ts'
import { ROOT, type Tree } from './overlay.ts'

const NAMES = ['a', 'b', 'c', 'd', 'e']

/** A small generator of numbers below `most`, the same for the same seed. */
export function numbers(seed: number): (most: number) => number {
  let state = seed
  return (most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * most)
  }
}

export type Described = Map<string, { inode: Inode; text: string }>

/** Each path with what is there: type, mode, size and content. */
export async function describe(
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

/** A random tree of three levels. */
export function randomTree(below: (most: number) => number): Tree {
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
export async function change(overlay: Overlay, below: (most: number) => number): Promise<void> {
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
