import { FileType, type Inode, isErrno, type Overlay } from '../../overlay-core/index.ts'
import { CoreView } from '../differential/core-view.ts'
import { differences, readTree, type Tree } from '../differential/tree.ts'
import { joined, type Path } from '../differential/view.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }

/** An object that a client was given a handle of, by the path that it had then. */
export interface Known {
  readonly path: Path
  readonly key: number
  readonly generation: number
  readonly fileId: string
}

/** What clients see: the tree, and for every object that was known before, the paths at which it is now. */
export interface Picture {
  readonly tree: Tree
  /** First known path of an object → where it is: sorted, joined; `gone` when its handle is stale. */
  readonly places: ReadonlyMap<string, string>
}

/** Every object of the tree, retained. */
export async function retainAll(overlay: Overlay): Promise<Known[]> {
  const known: Known[] = []
  const walk = async (inode: Inode, path: Path): Promise<void> => {
    overlay.retain(inode)
    const { fileIdHi, fileIdLo } = await overlay.getattr(inode)
    known.push({ path, key: inode.key, generation: inode.generation, fileId: `${fileIdHi}:${fileIdLo}` })
    if (inode.type !== FileType.directory) return
    for (const name of await namesOf(overlay, inode)) {
      const child = await overlay.lookup(ROOT, inode, name)
      if (child) await walk(child, joined(path, name))
    }
  }
  await walk(overlay.root, '')
  await overlay.retained()
  return known
}

async function namesOf(overlay: Overlay, dir: Inode): Promise<string[]> {
  const names: string[] = []
  await overlay.readdir(ROOT, dir, 0, ({ name }) => names.push(name) > 0)
  return names.sort()
}

/** Looks at everything. Handles come first, while nothing is in the caches that could help them. */
export async function takePicture(overlay: Overlay, known: readonly Known[]): Promise<Picture> {
  const found = new Map<Known, boolean>()
  for (const object of known) found.set(object, await isThere(overlay, object))
  const tree = await readTree(new CoreView(overlay))
  const paths = new Map<string, Path[]>()
  for (const [path, { status }] of tree) {
    const same = paths.get(status.fileId)
    if (same) same.push(path)
    else paths.set(status.fileId, [path])
  }
  const places = new Map<string, string>()
  const seen = new Set<string>()
  for (const object of known) {
    if (seen.has(object.fileId)) continue
    seen.add(object.fileId)
    const at = (paths.get(object.fileId) ?? []).sort().join(' ')
    places.set(object.path, found.get(object) ? at : 'gone')
  }
  return { tree, places }
}

/** Whether the handle still leads to the object, with the same file id. */
async function isThere(overlay: Overlay, { key, generation, fileId }: Known): Promise<boolean> {
  try {
    const { fileIdHi, fileIdLo } = await overlay.getattr(await overlay.inodeByKey(key, generation))
    return `${fileIdHi}:${fileIdLo}` === fileId
  } catch (error) {
    if (isErrno(error, 'ESTALE')) return false
    throw error
  }
}

/** In what `actual` is not `expected`; empty when nothing. Lines that match `tolerated` do not count. */
export function pictureDifferences(expected: Picture, actual: Picture, from: number, tolerated?: RegExp): string[] {
  const window = { from, to: from + 100_000 }
  const lines = differences(expected.tree, actual.tree, window, { names: ['expected', 'found'] }).filter(
    (line) => !isCopyOfDirectory(line, actual.tree) && !tolerated?.test(line),
  )
  for (const [path, place] of expected.places) {
    const now = actual.places.get(path)
    if (now !== place) lines.push(`handle of /${path}: expected at "${place}", found "${now}"`)
  }
  return lines
}

/**
 * What a copy-up shows of itself, as in the kernel: a merged directory has the link count 1, and when it is cut off before it has put the
 * time of the directory back, that is new.
 */
function isCopyOfDirectory(line: string, tree: Tree): boolean {
  const match = /^\/(.*): (mtime: expected \S+, found now|links: expected \d+, found \d+)$/.exec(line)
  return match !== null && tree.get(match[1] as string)?.status.type === FileType.directory
}
