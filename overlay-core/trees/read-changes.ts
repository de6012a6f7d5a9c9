import type { Overlay } from '../api/overlay-api.ts'
import { FileType, type Inode, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { sortInTurns } from '../base/sort-in-turns.ts'
import { compare } from '../compare/compare.ts'
import type { TreeItem } from './tree-entry.ts'
import { ADMIN, ViewItems } from './view-item.ts'

/** What a layer needs to say about a path. */
interface Change {
  /** The object in the view; undefined if it was removed. */
  readonly inode: Inode | undefined
  /** Whether a directory hides what is below it. */
  readonly opaque: boolean
}

/**
 * Reads what differs in a view from `base` as a layer: on the layers of `base` it shows what the view shows. It is independent of how the upper was written:
 * what was moved is told as a whole at its new place. In the order of `readTree`. Nobody may change the view meanwhile.
 *
 * @param wanted only what is at these paths or below them; everything if there are none
 */
export async function* readChanges(
  overlay: Overlay,
  base: Overlay,
  wanted: readonly string[] = [],
): AsyncGenerator<TreeItem> {
  const changes = await new Changes(overlay, base, wanted).read()
  const items = new ViewItems(overlay)
  const paths = await sortInTurns([...changes.keys()], inTreeOrder)
  /** The last path below which nothing of the lower layers is visible. */
  let covered: string | undefined
  for (const path of paths) {
    const { inode, opaque } = changes.get(path) as Change
    const isCovered = covered !== undefined && path.startsWith(`${covered}/`)
    if (inode === undefined) {
      if (isCovered) continue
      covered = path
      yield { entry: { path, type: 'whiteout', mode: 0, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, size: 0 } }
      continue
    }
    const item = path === '' ? await new ViewItems(base).of(base.root, '') : await items.of(inode, path)
    if (item === undefined) continue
    if (!isCovered && (opaque || inode.type !== FileType.directory)) covered = path
    yield opaque && inode.type === FileType.directory ? { ...item, entry: { ...item.entry, opaque } } : item
    if (loopBudget.spent) await loopBudget.rest()
  }
}

class Changes {
  readonly #overlay: Overlay
  readonly #base: Overlay
  readonly #wanted: readonly string[]
  readonly #made = new Map<string, { readonly inode: Inode; readonly isNew: boolean }>()
  readonly #gone = new Set<string>()

  constructor(overlay: Overlay, base: Overlay, wanted: readonly string[]) {
    this.#overlay = overlay
    this.#base = base
    this.#wanted = wanted
  }

  async read(): Promise<Map<string, Change>> {
    for await (const { kind, path, from, after } of compare(ADMIN, this.#overlay, this.#base)) {
      if (kind === 'same') continue
      if (kind === 'removed') this.#gone.add(path.join('/'))
      if (from) this.#gone.add(from.join('/'))
      if (after === undefined || kind === 'removed') continue
      const isNew = kind !== 'changed'
      this.#made.set(path.join('/'), { inode: after, isNew })
      if (kind === 'renamed' && after.type === FileType.directory) await this.#addBelow(after, path)
    }
    const changes = new Map<string, Change>()
    for (const [path, { inode, isNew }] of this.#made) {
      if (!this.#isWanted(path)) continue
      await this.#addParents(changes, path)
      changes.set(path, { inode, opaque: isNew && this.#gone.has(path) })
    }
    for (const path of this.#gone) {
      if (this.#made.has(path) || !this.#isWanted(path)) continue
      // What was in a directory that is gone is gone with it.
      if (await this.#addParents(changes, path)) changes.set(path, { inode: undefined, opaque: false })
    }
    if (changes.size > 0 || this.#wanted.length === 0) changes.set('', { inode: this.#overlay.root, opaque: false })
    return changes
  }

  /** Everything in a directory that was moved belongs to the layer. */
  async #addBelow(dir: Inode, path: readonly Name[]): Promise<void> {
    for (const name of await new ViewItems(this.#overlay).names(dir)) {
      const inode = await this.#overlay.lookup(ADMIN, dir, name)
      if (inode === undefined) continue
      const below = [...path, name]
      const known = this.#made.get(below.join('/'))
      if (known === undefined) this.#made.set(below.join('/'), { inode, isNew: true })
      if (inode.type === FileType.directory) await this.#addBelow(inode, below)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  /** Adds the directories above a path, as the view has them. Returns whether it has them all. */
  async #addParents(changes: Map<string, Change>, path: string): Promise<boolean> {
    const names = path.split('/').slice(0, -1)
    const parents: [string, Inode][] = []
    let dir: Inode = this.#overlay.root
    for (const [depth, name] of names.entries()) {
      const found = await this.#overlay.lookup(ADMIN, dir, name)
      if (found === undefined || found.type !== FileType.directory) return false
      dir = found
      parents.push([names.slice(0, depth + 1).join('/'), dir])
    }
    for (const [above, inode] of parents)
      if (!changes.has(above)) changes.set(above, { inode, opaque: this.#isNewOverGone(above) })
    return true
  }

  #isNewOverGone(path: string): boolean {
    return this.#made.get(path)?.isNew === true && this.#gone.has(path)
  }

  #isWanted(path: string): boolean {
    if (this.#wanted.length === 0) return true
    return this.#wanted.some((top) => top === '' || path === top || path.startsWith(`${top}/`))
  }
}

/** Each directory before its contents, names by their bytes. */
function inTreeOrder(a: string, b: string): number {
  const [left, right] = [a.replaceAll('/', '\0'), b.replaceAll('/', '\0')]
  return left < right ? -1 : left > right ? 1 : 0
}
