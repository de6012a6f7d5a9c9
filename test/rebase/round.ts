import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  BaseChanges,
  buildUpper,
  FileType,
  type Inode,
  mount,
  type Overlay,
  outcomesOf,
  type PathOutcome,
  parseOptions,
  type Strategy,
} from '../../overlay-core/index.ts'
import { build, ROOT, type Tree } from '../helpers/overlay.ts'
import { DIRECTORY, expected, type Plain, strategyOfName } from './oracle.ts'

const FILES = ['a', 'b', 'cT', 'dB']
const DIRECTORIES = ['x', 'y']
const CHANGES = 30
/** Nothing has to wait for a disk there. */
const MEMORY = '/dev/shm'

/** A small generator of numbers below `most`, the same for the same seed. */
export function numbers(seed: number): (most: number) => number {
  let state = (seed * 2654435761) >>> 0
  return (most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * most)
  }
}

type Below = (most: number) => number

/** What a round found. */
export interface RoundResult {
  readonly wrong: readonly string[]
  readonly outcomes: readonly PathOutcome[]
}

/** Everything that an overlay shows, with the identities of files. */
export async function plainOf(overlay: Overlay): Promise<{ plain: Plain; keys: Map<string, string> }> {
  const plain: Plain = new Map()
  const keys = new Map<string, string>()
  const walk = async (dir: Inode, path: string): Promise<void> => {
    const names: string[] = []
    await overlay.readdir(ROOT, dir, 0, ({ name }) => names.push(name) > 0)
    // Listings have another order in each overlay, and a seed must always do the same.
    for (const name of names.sort()) {
      const inode = (await overlay.lookup(ROOT, dir, name)) as Inode
      const at = path === '' ? name : `${path}/${name}`
      keys.set(at, `${inode.key} ${inode.generation}`)
      if (inode.type === FileType.directory) {
        plain.set(at, DIRECTORY)
        await walk(inode, at)
      } else plain.set(at, await textOf(overlay, inode))
    }
  }
  await walk(overlay.root, '')
  return { plain, keys }
}

async function textOf(overlay: Overlay, inode: Inode): Promise<string> {
  const { mode, size, type } = await overlay.getattr(inode)
  if (type === FileType.symlink) return `symlink ${Buffer.from(await overlay.readlink(ROOT, inode))}`
  const content = Buffer.alloc(size)
  await overlay.read(ROOT, inode, content, 0, size, 0)
  return `file ${mode.toString(8)} ${content}`
}

/** A random tree, of files and directories with different names. */
function randomTree(below: Below): Record<string, string> {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 14; i++) {
    const path = Array.from({ length: below(3) }, () => DIRECTORIES[below(DIRECTORIES.length)] as string)
    const file = [...path, FILES[below(FILES.length)] as string].join('/')
    if (path.some((_, at) => tree[path.slice(0, at + 1).join('/')] !== undefined)) continue
    tree[file] = `base ${below(1e6)}`
  }
  return tree
}

/** The next version of a base: some files changed, removed and added, sometimes a directory in place of a file and the other way round. */
function nextOf(tree: Readonly<Record<string, string>>, below: Below): Tree {
  const next: Record<string, string> = {}
  for (const [path, content] of Object.entries(tree)) {
    const what = below(6)
    if (what === 0) next[path] = `next ${below(1e6)}`
    else if (what > 1) next[path] = content
  }
  for (let i = 0; i < 4; i++) {
    const path = Array.from({ length: below(3) }, () => DIRECTORIES[below(DIRECTORIES.length)] as string)
    next[[...path, FILES[below(FILES.length)]].join('/')] = `next ${below(1e6)}`
  }
  const directories = new Set(Object.keys(next).flatMap((path) => path.split('/').slice(0, -1)))
  const victim = [...directories][below(8)]
  if (victim !== undefined)
    for (const path of Object.keys(next)) if (path === victim || path.startsWith(`${victim}/`)) delete next[path]
  if (victim !== undefined && below(2) === 0) next[victim] = `next ${below(1e6)}`
  return next
}

/** What a user does at random. */
async function change(overlay: Overlay, { below, moves }: Round, replaced: Set<string>, old: Plain): Promise<void> {
  const { plain } = await plainOf(overlay)
  const directories = ['', ...[...plain].filter(([, value]) => value === DIRECTORY).map(([path]) => path)]
  const pick = () => directories[below(directories.length)] as string
  const find = async (path: string) => {
    let at: Inode | undefined = overlay.root
    for (const name of path === '' ? [] : path.split('/')) at = at && (await overlay.lookup(ROOT, at, name))
    return at as Inode
  }
  const [where, other] = [pick(), pick()]
  const [dir, to] = [await find(where), await find(other)]
  const file = FILES[below(FILES.length)] as string
  const name = DIRECTORIES[below(DIRECTORIES.length)] as string
  const inside = where === '' ? name : `${where}/${name}`
  const write = async (at: string) => {
    const found = await overlay.lookup(ROOT, dir, at)
    const inode = found ?? (await overlay.create(ROOT, dir, at, { mode: 0o640 }))
    await overlay.setattr(ROOT, inode, { size: 0 })
    await overlay.write(ROOT, inode, Buffer.from(`mine ${below(1e9)}`), 0, 'unstable')
  }
  const doing = [
    async () => await write(file),
    async () => await write(file),
    async () => await write(name),
    async () => await overlay.unlink(ROOT, dir, file),
    async () => await removeTree(overlay, dir, name, () => replaced.delete(inside)),
    async () => {
      await overlay.mkdir(ROOT, dir, name, { mode: 0o755 })
      if (old.get(inside) === DIRECTORY) replaced.add(inside)
    },
    async () => await overlay.rename(ROOT, dir, file, to, FILES[below(FILES.length)] as string),
    async () => await overlay.link(ROOT, (await overlay.lookup(ROOT, dir, file)) as Inode, to, `${file}-link`),
    async () => {
      const inode = await overlay.lookup(ROOT, dir, file)
      if (inode) await overlay.setattr(ROOT, inode, { mode: below(0o1000) })
    },
    async () => await overlay.symlink(ROOT, dir, `${file}-symlink`, Buffer.from('target'), { mode: 0o777 }),
  ]
  const moving = [
    async () => await overlay.rename(ROOT, dir, name, to, DIRECTORIES[below(DIRECTORIES.length)] as string),
    async () => await overlay.rename(ROOT, dir, name, to, `moved${below(3)}`),
    async () => await overlay.rename(ROOT, dir, name, to, name, { exchange: true }),
  ]
  const all = moves ? [...doing, ...moving, ...moving] : doing
  await all[below(all.length)]!().catch(() => undefined)
}

async function removeTree(overlay: Overlay, dir: Inode, name: string, done: () => void): Promise<void> {
  const inode = await overlay.lookup(ROOT, dir, name)
  if (inode?.type !== FileType.directory) return
  const names: string[] = []
  await overlay.readdir(ROOT, inode, 0, (entry) => names.push(entry.name) > 0)
  for (const inner of names) {
    const found = await overlay.lookup(ROOT, inode, inner)
    if (found?.type === FileType.directory) await removeTree(overlay, inode, inner, () => undefined)
    else await overlay.unlink(ROOT, inode, inner)
  }
  await overlay.rmdir(ROOT, dir, name)
  done()
}

/** The strategy of a path in a round. */
export function strategyOf(path: readonly string[]): Strategy {
  return strategyOfName(path.at(-1) ?? '')
}

/** What is tried with a seed. */
interface Round {
  readonly below: Below
  /** Whether directories are moved. Then what must come of it is known only where the base has not changed, and for what the user has written. */
  readonly moves: boolean
  /** Whether both bases have the same content. */
  readonly same: boolean
}

/** One view that is put on a new base, compared with what must come of it. Of three views one has moved directories on a changed base, one on an equal one. */
export async function runRound(seed: number): Promise<RoundResult> {
  const below = numbers(seed)
  const round = { below, moves: seed % 3 !== 0, same: seed % 3 === 1 }
  const dir = mkdtempSync(join(MEMORY, 'overlayd-rebase-'))
  try {
    const tree = randomTree(below)
    build(join(dir, 'old'), tree)
    build(join(dir, 'next'), round.same ? tree : nextOf(tree, below))
    for (const name of ['upper', 'work']) mkdirSync(join(dir, name))
    return await rebased(dir, round)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function rebased(dir: string, round: Round): Promise<RoundResult> {
  const on = (base: string, frozen: readonly string[] = []) => {
    const options = parseOptions(`lowerdir=${dir}/${base},upperdir=${dir}/upper,workdir=${dir}/work`)
    return { ...options, lowerdir: [...frozen, ...options.lowerdir], frozen: frozen.length }
  }
  const [old, next] = await Promise.all(['old', 'next'].map((base) => mount(parseOptions(`lowerdir=${dir}/${base}`))))
  const overlay = await mount(on('old'))
  const frozen: string[] = []
  const freeze = async () => {
    const directory = join(dir, `layer${frozen.length}`)
    mkdirSync(directory)
    frozen.unshift(join(directory, 'upper'))
    await overlay.freeze(directory, on('old', frozen))
  }
  try {
    const base = (await plainOf(old!)).plain
    const replaced = new Set<string>()
    const { below, moves } = round
    const middle = below(3) === 0 ? below(CHANGES) : -1
    for (let i = 0; i < CHANGES; i++) {
      await change(overlay, round, replaced, base)
      if (i === middle) await freeze()
    }
    const before = await plainOf(overlay)
    await freeze()
    const strategy = moves ? () => 'mine' as const : strategyOf
    const changes = new BaseChanges(ROOT, old!, next!)
    const outcomes = await outcomesOf({ cred: ROOT, view: overlay, changes, strategyOf: strategy })
    const directory = join(dir, 'rebased')
    mkdirSync(directory)
    const parts = { cred: ROOT, view: overlay, directory, options: on('next'), stack: undefined, outcomes }
    await buildUpper({ ...parts, suffix: 'base-2' })
    await overlay.freeze(directory, on('next'), true)
    const live = await plainOf(overlay)
    const must = moves
      ? round.same
        ? before.plain
        : withKept(live.plain, before.plain)
      : expected(base, before.plain, (await plainOf(next!)).plain, replaced)
    const wrong = differences(must, live.plain, 'live')
    for (const [path, key] of before.keys)
      if (
        before.plain.get(path)?.includes('mine') &&
        live.plain.get(path) === before.plain.get(path) &&
        !path.includes('link')
      )
        if (live.keys.get(path) !== key && !sharesInode(before.keys, path)) wrong.push(`${path} has another identity`)
    return { wrong: [...wrong, ...(await afterwards(overlay, on('next'), must))], outcomes }
  } finally {
    await overlay.unmount()
    await Promise.all([old, next].map((each) => each!.unmount()))
  }
}

/** What is shown, with everything that the user has written in its place. */
function withKept(live: Plain, view: Plain): Plain {
  const written = [...view].filter(([, text]) => text.includes('mine ') || text.startsWith('symlink'))
  return new Map([...live, ...written])
}

function sharesInode(keys: ReadonlyMap<string, string>, path: string): boolean {
  return [...keys].some(([other, key]) => other !== path && key === keys.get(path))
}

/** What another mount of the same layers shows. */
async function afterwards(overlay: Overlay, options: Parameters<typeof mount>[0], must: Plain): Promise<string[]> {
  await overlay.unmount()
  const again = await mount(options)
  try {
    return differences(must, (await plainOf(again)).plain, 'after a restart')
  } finally {
    await again.unmount()
  }
}

function differences(must: Plain, is: Plain, when: string): string[] {
  return [...new Set([...must.keys(), ...is.keys()])]
    .filter((path) => must.get(path) !== is.get(path))
    .map((path) => `${when}: ${path} must be ${must.get(path) ?? 'absent'}, is ${is.get(path) ?? 'absent'}`)
    .sort()
}
