import type { Overlay } from '../api/overlay-api.ts'
import { type Cred, FileType, type Inode, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { aspectsOf } from '../compare/aspects.ts'
import type { BaseChange } from './outcome.ts'

/** The paths that are remembered; at more of them all are forgotten. One takes some 300 bytes. */
const MOST_PATHS = 200_000
/** A removed directory with more objects than this counts as changed without a look at the rest. */
const MOST_COMPARED = 2000

/** A path in both versions of the base. */
export interface BasePath {
  readonly old: Inode | undefined
  readonly next: Inode | undefined
}

interface Node extends BasePath {
  readonly children: Map<Name, Promise<Node>>
  change: Promise<BaseChange> | undefined
  deep: Promise<BaseChange> | undefined
}

/** What differs between two versions of a base, read only at the paths that are asked for, once for all views. */
export class BaseChanges {
  readonly old: Overlay
  readonly next: Overlay
  readonly #cred: Cred
  #root: Node
  #size = 0

  /** @param old the old version, and `next` the new one: overlays without an upper */
  constructor(cred: Cred, old: Overlay, next: Overlay) {
    this.#cred = cred
    this.old = old
    this.next = next
    this.#root = nodeOf(old.root, next.root)
  }

  /** What both versions have at a path. */
  async at(path: readonly Name[]): Promise<BasePath> {
    return await this.#find(path)
  }

  /** What the new version has done at a path. Of a directory only its own attributes count, and never times. */
  async change(path: readonly Name[]): Promise<BaseChange> {
    const node = await this.#find(path)
    node.change ??= this.#compare(node)
    return await node.change
  }

  /** Like `change`; a directory has also changed if anything in it has, or if it contains too much to find out. */
  async deepChange(path: readonly Name[]): Promise<BaseChange> {
    const node = await this.#find(path)
    node.deep ??= this.#compareAll(node, { left: MOST_COMPARED })
    return await node.deep
  }

  async #find(path: readonly Name[]): Promise<Node> {
    if (this.#size > MOST_PATHS) {
      this.#root = nodeOf(this.old.root, this.next.root)
      this.#size = 0
    }
    let at = this.#root
    for (const name of path) at = await this.#child(at, name)
    return at
  }

  #child(node: Node, name: Name): Promise<Node> {
    const known = node.children.get(name)
    if (known !== undefined) return known
    const found = this.#look(node, name)
    node.children.set(name, found)
    this.#size++
    return found
  }

  async #look({ old, next }: Node, name: Name): Promise<Node> {
    return nodeOf(await this.#inside(this.old, old, name), await this.#inside(this.next, next, name))
  }

  async #inside(overlay: Overlay, dir: Inode | undefined, name: Name): Promise<Inode | undefined> {
    if (dir?.type !== FileType.directory) return undefined
    return await overlay.lookup(this.#cred, dir, name)
  }

  async #compare({ old, next }: Node): Promise<BaseChange> {
    if (old === undefined) return next === undefined ? 'same' : 'added'
    if (next === undefined) return 'removed'
    if (old.type !== next.type) return 'changed'
    const aspects = await aspectsOf(this.#cred, { overlay: this.next, inode: next }, { overlay: this.old, inode: old })
    return aspects.some((aspect) => aspect !== 'time') ? 'changed' : 'same'
  }

  async #compareAll(node: Node, count: { left: number }): Promise<BaseChange> {
    node.change ??= this.#compare(node)
    const change = await node.change
    const { old, next } = node
    if (change !== 'same' || old?.type !== FileType.directory || next?.type !== FileType.directory) return change
    const names = new Set([...(await this.#names(this.old, old)), ...(await this.#names(this.next, next))])
    for (const name of names) {
      if (count.left-- <= 0) return 'changed'
      if ((await this.#compareAll(await this.#child(node, name), count)) !== 'same') return 'changed'
      if (loopBudget.spent) await loopBudget.rest()
    }
    return 'same'
  }

  async #names(overlay: Overlay, dir: Inode): Promise<Name[]> {
    const names: Name[] = []
    await overlay.readdir(this.#cred, dir, 0, ({ name }) => names.push(name) <= MOST_COMPARED)
    return names
  }
}

function nodeOf(old: Inode | undefined, next: Inode | undefined): Node {
  return { old, next, children: new Map(), change: undefined, deep: undefined }
}
