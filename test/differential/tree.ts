import { type Cred, FileType, isErrno, type MaybePromise, type Time } from '../../overlay-core/index.ts'
import { digest } from './operations.ts'
import { joined, type Path, parentOf, type Status, type View } from './view.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }

const UNREADABLE: Status = {
  type: FileType.socket,
  mode: 0,
  nlink: 0,
  uid: 0,
  gid: 0,
  size: 0,
  rdev: '',
  atime: { sec: 0, nsec: 0 },
  mtime: { sec: 0, nsec: 0 },
  fileId: '',
}

/** Everything of one object that the two sides must agree on. */
export interface TreeEntry {
  readonly status: Status
  /** Digest of the content, or the target of a symlink. */
  readonly content: string
  readonly xattrs: string
}

export type Tree = ReadonlyMap<Path, TreeEntry>

/** Reads the whole tree. */
export async function readTree(view: View): Promise<Tree> {
  const tree = new Map<Path, TreeEntry>()
  await readInto(view, '', tree)
  return tree
}

async function readInto(view: View, path: Path, tree: Map<Path, TreeEntry>): Promise<void> {
  try {
    const status = await view.stat(ROOT, path)
    tree.set(path, { status, content: await contentOf(view, path, status), xattrs: await xattrsOf(view, path) })
    if (status.type !== FileType.directory) return
    const entries = [...(await view.readdir(ROOT, path))].sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const { name } of entries) await readInto(view, joined(path, name), tree)
  } catch (error) {
    // A part of what there is to compare: the other side should meet it too.
    if (!isErrno(error)) throw error
    tree.set(path, { status: UNREADABLE, content: error.message, xattrs: '' })
  }
}

async function contentOf(view: View, path: Path, { type, size }: Status): Promise<string> {
  if (type === FileType.symlink) return await view.readlink(ROOT, path)
  if (type !== FileType.regular) return ''
  const handle = await view.open(ROOT, path, { read: true })
  try {
    return digest(await handle.read(0, size + 1))
  } finally {
    handle.close()
  }
}

async function xattrsOf(view: View, path: Path): Promise<string> {
  const pairs: string[] = []
  for (const name of [...(await view.listxattr(ROOT, path))].sort()) {
    const value: MaybePromise<Buffer> = view.getxattr(ROOT, path, name)
    pairs.push(`${name}=${JSON.stringify((await value).toString('latin1'))}`)
  }
  return pairs.join(' ')
}

/** What the clock may have set since the round began; seconds. All other times are set by operations, or come from the layers. */
export interface ClockWindow {
  readonly from: number
  readonly to: number
}

/** Differences of the trees that are meant. */
export interface Allowed {
  /**
   * File ids of lower files whose names overlayd shows as objects of their own (index=off): copy-up will separate them, and a file id
   * never changes; in the kernel it does.
   */
  readonly separated?: ReadonlySet<string>
  /**
   * Completing a metadata-only copy keeps the file's mtime; in the kernel the mere opening for writing sets it. And a ramfs leaves it alone at a
   * truncation to the size that the file has, where tmpfs sets it.
   */
  readonly completion?: boolean
  /**
   * Directories may have the present time on one side only: ext4 gives it to the one from which a rename with a whiteout was refused, as it
   * had begun.
   */
  readonly begunRenames?: boolean
  /** How the two are called. */
  readonly names?: readonly [string, string]
}

const SIDES = ['kernel', 'overlayd'] as const

/** The differences of two trees as lines of text, none when they are the same. */
export function differences(first: Tree, second: Tree, window: ClockWindow, allowed: Allowed = {}): string[] {
  const names = allowed.names ?? SIDES
  const result: string[] = []
  const only = (name: string, other: string, path: Path, { status }: TreeEntry) =>
    result.push(`${show(path)}: ${name} has it (${status.type.toString(8)}), ${other} not`)
  for (const [path, entry] of first) {
    const other = second.get(path)
    if (!other) only(names[0], names[1], path, entry)
    else
      for (const difference of entryDifferences(entry, other, window, allowed))
        result.push(`${show(path)}: ${difference}`)
  }
  for (const [tree, name] of [[first, names[0]] as const, [second, names[1]] as const])
    result.push(...wrongLinks(tree).map(([path, links]) => `${show(path)}: links of a directory: ${name} ${links}`))
  for (const [path, entry] of second) if (!first.has(path)) only(names[1], names[0], path, entry)
  if (result.length === 0) result.push(...groupDifferences(first, second, allowed))
  return result
}

function entryDifferences(first: TreeEntry, second: TreeEntry, window: ClockWindow, allowed: Allowed): string[] {
  const names = allowed.names ?? SIDES
  const result: string[] = []
  const compare = (what: string, one: string | number, other: string | number) => {
    if (one !== other) result.push(`${what}: ${names[0]} ${one}, ${names[1]} ${other}`)
  }
  const [a, b] = [first.status, second.status]
  compare('type', a.type.toString(8), b.type.toString(8))
  compare('mode', a.mode.toString(8), b.mode.toString(8))
  compare('owner', `${a.uid}:${a.gid}`, `${b.uid}:${b.gid}`)
  compare('links', ...linksOf(a, b))
  // What a directory's size means is the real file system's own affair.
  if (a.type !== FileType.directory) compare('size', a.size, b.size)
  compare('device', a.rdev, b.rdev)
  const times = [timeText(a.mtime, window), timeText(b.mtime, window)] as const
  const kept = a.type === FileType.regular ? allowed.completion : a.type === FileType.directory && allowed.begunRenames
  if (kept !== true || !times.includes('now')) compare('mtime', ...times)
  compare('atime', timeText(a.atime, window), timeText(b.atime, window))
  compare('content', first.content, second.content)
  compare('xattrs', first.xattrs, second.xattrs)
  return result
}

/**
 * Which directories are merged, and so have one link, depends on what was copied up: by a change that is refused the kernel copies up all
 * the same, and a hard link at each name that is used. So one of the two may be; `wrongLinks` looks at each by itself.
 */
function linksOf(a: Status, b: Status): [number, number] {
  const merged = a.type === FileType.directory && (a.nlink === 1 || b.nlink === 1)
  return merged ? [1, 1] : [a.nlink, b.nlink]
}

/** Directories with a link count that no directory with so many others in it has: neither one, as merged, nor two and one for each of them. */
function wrongLinks(tree: Tree): [Path, number][] {
  const inside = new Map<Path, number>()
  for (const [path, { status }] of tree) {
    if (status.type !== FileType.directory || path === '') continue
    const parent = parentOf(path)
    inside.set(parent, (inside.get(parent) ?? 0) + 1)
  }
  const wrong: [Path, number][] = []
  for (const [path, { status }] of tree) {
    if (status.type !== FileType.directory || status.nlink === 1) continue
    if (status.nlink !== 2 + (inside.get(path) ?? 0)) wrong.push([path, status.nlink])
  }
  return wrong
}

function timeText(time: Time, window: ClockWindow): string {
  if (time.sec >= window.from && time.sec <= window.to) return 'now'
  return `${time.sec}.${String(time.nsec).padStart(9, '0')}`
}

/**
 * Names of one object on one side must be names of one object on the other: as clients see it, by file id, and as they only do where
 * the link count says that there are several.
 */
function groupDifferences(first: Tree, second: Tree, allowed: Allowed): string[] {
  const names = allowed.names ?? SIDES
  const others = groups(second)
  const result: string[] = []
  for (const [path, group] of groups(first)) {
    const other = others.get(path)
    const status = first.get(path)?.status
    const alone = other === show(path) && allowed.separated?.has(status?.fileId ?? '') === true
    if (other !== group && !alone) result.push(`${show(path)}: same object: ${names[0]} ${group}, ${names[1]} ${other}`)
  }
  return result
}

function groups(tree: Tree): Map<Path, string> {
  const byIdentity = new Map<string, Path[]>()
  for (const [path, { status }] of tree) {
    if (status.type === FileType.directory || status.nlink < 2) continue
    const names = byIdentity.get(status.fileId)
    if (names) names.push(path)
    else byIdentity.set(status.fileId, [path])
  }
  const result = new Map<Path, string>()
  for (const names of byIdentity.values()) for (const name of names) result.set(name, names.map(show).sort().join(', '))
  return result
}

/** A path for reading: `/` before it, unprintable bytes escaped. */
export function show(path: Path): string {
  const text = JSON.stringify(`/${path}`).slice(1, -1)
  const plain = text.replace(/[\u007f-\u00ff]/g, (unit) => `\\x${unit.charCodeAt(0).toString(16)}`)
  return plain.length > 120 ? `${plain.slice(0, 100)}…(${path.length} bytes)` : plain
}
