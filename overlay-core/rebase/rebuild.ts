import type { Overlay } from '../api/overlay-api.ts'
import { type Cred, FileType, type Inode, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { superBlockOf } from '../mount/superblock-of.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { removeWhole } from '../operations/remove.ts'
import { copyObject, dress, markIdentity, overwriteWith } from './copy-object.ts'
import type { PathOutcome } from './outcome.ts'

/** What an upper is rebuilt from. */
export interface RebuildParts {
  readonly cred: Cred
  /** The view on the old base. It must not change meanwhile. */
  readonly view: Overlay
  /** An overlay with an empty upper over the new base, which nobody else uses; its upper becomes that of the view. */
  readonly target: Overlay
  readonly outcomes: readonly PathOutcome[]
  /** What names of the base that are put beside those of the user end with, after a dot: `base-VERSION`. */
  readonly suffix: string
}

/** What was put beside a path, by that path. */
export type Beside = ReadonlyMap<PathOutcome, readonly Name[]>

/** The longest name, in bytes. */
const LONGEST_NAME = 255
/** Holds moved directories until their new parents are there. */
const ASIDE = '.overlayd-moving'

/**
 * Writes into the upper of `target` what the user has on the new base, by the outcomes. Takes time in proportion to the changes and to the bytes of changed files;
 * data is shared where the file system can do that. Nothing is synced before `target` is unmounted.
 */
export async function rebuild(parts: RebuildParts): Promise<Beside> {
  return await new Rebuild(parts).run()
}

class Rebuild {
  readonly #parts: RebuildParts
  readonly #moved = new Map<PathOutcome, Name>()
  readonly #beside = new Map<PathOutcome, readonly Name[]>()
  /** Objects of the view with several names, by their keys. */
  readonly #linked = new Map<number, Inode>()
  #aside: { readonly name: Name; readonly dir: Inode } | undefined

  constructor(parts: RebuildParts) {
    this.#parts = parts
  }

  async run(): Promise<Beside> {
    const { outcomes, target, cred } = this.#parts
    await this.#takeAway(outcomes)
    for (const outcome of outcomes) {
      await this.#place(outcome)
      if (loopBudget.spent) await loopBudget.rest()
    }
    await this.#finish(outcomes)
    if (this.#aside) await target.rmdir(cred, target.root, this.#aside.name)
    return this.#beside
  }

  /** Hides names of the base, and takes out directories that are moved; what is deeper first, so that all paths are still those of the base. */
  async #takeAway(outcomes: readonly PathOutcome[]): Promise<void> {
    const away: { readonly path: readonly Name[]; readonly move: PathOutcome | undefined }[] = []
    for (const outcome of outcomes) {
      const { action, difference } = outcome
      const { was, from } = difference
      if (action === 'hide') away.push({ path: was, move: undefined })
      else if (action === 'move' && from) away.push({ path: from, move: outcome })
    }
    away.sort((a, b) => b.path.length - a.path.length)
    for (const { path, move } of away) {
      if (move) await this.#takeOut(path, move)
      else await this.#hide(path)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  async #takeOut(path: readonly Name[], outcome: PathOutcome): Promise<void> {
    const { target, cred } = this.#parts
    this.#aside ??= await this.#makeAside()
    const name = `${this.#moved.size}`
    const parent = await this.#find(path.slice(0, -1))
    if (parent?.type !== FileType.directory) return
    await target.rename(cred, parent, path.at(-1) as Name, this.#aside.dir, name)
    this.#moved.set(outcome, name)
  }

  async #makeAside(): Promise<{ readonly name: Name; readonly dir: Inode }> {
    const { target, cred } = this.#parts
    for (let count = 0; ; count++) {
      const name = `${ASIDE}${count === 0 ? '' : count}`
      if (await this.#isTaken(target.root, name)) continue
      return { name, dir: await target.mkdir(cred, target.root, name, { mode: 0o700 }) }
    }
  }

  /** Whether the new base, or the view, has this name in a directory of its root. */
  async #isTaken(dir: Inode, name: Name): Promise<boolean> {
    if ((await this.#look(dir, name)) !== undefined) return true
    const { target, outcomes } = this.#parts
    return dir === target.root && outcomes.some(({ difference }) => difference.path[0] === name)
  }

  async #place(outcome: PathOutcome): Promise<void> {
    const { action, difference, beside } = outcome
    const { path, after } = difference
    if (beside) await this.#putBeside(outcome)
    if (action === 'drop' || action === 'hide' || after === undefined || path.length === 0) return
    if (action === 'move') await this.#placeMoved(outcome)
    else if (action === 'tree') await this.#placeTree(path, after)
    else if (after.type === FileType.directory) await this.#placeDirectory(path, after, action === 'cover')
    else await this.#placeFile(path, after)
  }

  /** Gives what the base has at a path another name. */
  async #putBeside(outcome: PathOutcome): Promise<void> {
    const { target, cred, suffix } = this.#parts
    const { path } = outcome.difference
    const dir = await this.#find(path.slice(0, -1))
    const name = path.at(-1) as Name
    if (dir === undefined || (await this.#look(dir, name)) === undefined) return
    for (let count = 1; ; count++) {
      const end = `.${suffix}${count === 1 ? '' : `-${count}`}`
      const free = `${name.slice(0, LONGEST_NAME - end.length)}${end}`
      const there = [...path.slice(0, -1), free]
      if ((await this.#look(dir, free)) !== undefined || this.#isUsers(there)) continue
      await target.rename(cred, dir, name, dir, free)
      this.#beside.set(outcome, there)
      return
    }
  }

  #isUsers(path: readonly Name[]): boolean {
    const text = path.join('/')
    return this.#parts.outcomes.some(({ difference }) => difference.path.join('/') === text)
  }

  async #placeMoved(outcome: PathOutcome): Promise<void> {
    const { target, cred } = this.#parts
    const { path, after } = outcome.difference
    const moved = this.#moved.get(outcome)
    if (moved === undefined || this.#aside === undefined) return await this.#placeDirectory(path, after as Inode, false)
    await this.#hide(path)
    const dir = await this.#directory(path.slice(0, -1))
    await target.rename(cred, this.#aside.dir, moved, dir, path.at(-1) as Name)
  }

  async #placeDirectory(path: readonly Name[], after: Inode, covers: boolean): Promise<void> {
    const { target, cred, view } = this.#parts
    const dir = await this.#directory(path.slice(0, -1))
    const name = path.at(-1) as Name
    const present = await this.#look(dir, name)
    if (present !== undefined && (covers || present.type !== FileType.directory)) await this.#hideIn(dir, name)
    else if (present !== undefined) return
    const attr = await view.getattr(after)
    await target.mkdir(cred, dir, name, { mode: attr.mode & 0o777 })
  }

  /** The directory at a path, which is made like that of the view if the new base has none. */
  async #directory(path: readonly Name[]): Promise<Inode> {
    const { target, view, cred } = this.#parts
    let [at, mine]: [Inode, Inode | undefined] = [target.root, view.root]
    for (const name of path) {
      mine = mine && (await view.lookup(cred, mine, name))
      const found = await this.#look(at, name)
      if (found?.type === FileType.directory) {
        at = found
        continue
      }
      if (found) await this.#hideIn(at, name)
      at = await target.mkdir(cred, at, name, { mode: 0o755 })
      if (mine)
        await dress(cred, { overlay: view, inode: mine }, await view.getattr(mine), { overlay: target, inode: at })
    }
    return at
  }

  async #placeFile(path: readonly Name[], after: Inode): Promise<void> {
    const { target, view, cred } = this.#parts
    const dir = await this.#directory(path.slice(0, -1))
    const name = path.at(-1) as Name
    const from = { overlay: view, inode: after }
    const present = await this.#look(dir, name)
    const { nlink } = await view.getattr(after)
    const linked = nlink > 1 ? this.#linked.get(after.key) : undefined
    if (linked !== undefined) {
      if (present === linked) return
      if (present) await this.#hideIn(dir, name)
      return await target.link(cred, linked, dir, name)
    }
    if (present && (await this.#sharesNames(present, after, nlink))) {
      await overwriteWith(cred, from, { overlay: target, inode: present })
      this.#linked.set(after.key, present)
      return
    }
    if (present) await this.#hideIn(dir, name)
    const made = await copyObject(cred, from, { overlay: target, dir, name })
    if (nlink > 1) this.#linked.set(after.key, made)
  }

  /** Whether the new base has a file with several names here, which stay together. */
  async #sharesNames(present: Inode, after: Inode, nlink: number): Promise<boolean> {
    if (nlink < 2 || present.type !== FileType.regular || after.type !== FileType.regular) return false
    return (await this.#parts.target.getattr(present)).nlink > 1
  }

  /** Copies a directory with everything that the view shows in it. */
  async #placeTree(path: readonly Name[], after: Inode): Promise<void> {
    const { view, cred } = this.#parts
    const open: { readonly path: readonly Name[]; readonly inode: Inode }[] = [{ path, inode: after }]
    for (let at = open.pop(); at; at = open.pop()) {
      const { path: where, inode } = at
      await this.#placeDirectory(where, inode, where === path)
      const names: Name[] = []
      await view.readdir(cred, inode, 0, ({ name }) => names.push(name) > 0)
      for (const name of names) {
        const found = await view.lookup(cred, inode, name)
        if (found === undefined) continue
        if (found.type === FileType.directory) open.push({ path: [...where, name], inode: found })
        else await this.#placeFile([...where, name], found)
        if (loopBudget.spent) await loopBudget.rest()
      }
      await this.#dress(where, inode, false)
    }
  }

  /** Gives directories their attributes, times and identities, when nothing in them is changed any more. */
  async #finish(outcomes: readonly PathOutcome[]): Promise<void> {
    for (const { action, base, difference } of outcomes.toReversed()) {
      const { path, after, kind } = difference
      if (action === 'drop' || action === 'hide' || after?.type !== FileType.directory || path.length === 0) continue
      await this.#dress(path, after, kind === 'same' && base !== 'same')
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  /** @param asInBase whether the attributes are those of the new base */
  async #dress(path: readonly Name[], mine: Inode, asInBase: boolean): Promise<void> {
    const { cred, view, target } = this.#parts
    const inode = await this.#find(path)
    // A directory of the base in which nothing of the user is needs nothing.
    if (inode?.type !== FileType.directory || (asInBase && !(inode as OvlInode).upper)) return
    const to = { overlay: target, inode }
    if (!asInBase) await dress(cred, { overlay: view, inode: mine }, await view.getattr(mine), to)
    await markIdentity(mine, to)
  }

  async #hide(path: readonly Name[]): Promise<void> {
    const dir = await this.#find(path.slice(0, -1))
    // The new base may have something else at the path of the directory.
    if (dir?.type === FileType.directory) await this.#hideIn(dir, path.at(-1) as Name)
  }

  async #hideIn(dir: Inode, name: Name): Promise<void> {
    await removeWhole(superBlockOf(this.#parts.target), dir as OvlInode, name)
  }

  async #find(path: readonly Name[]): Promise<Inode | undefined> {
    let at: Inode | undefined = this.#parts.target.root
    for (const name of path) {
      if (at?.type !== FileType.directory) return undefined
      at = await this.#look(at, name)
    }
    return at
  }

  async #look(dir: Inode, name: Name): Promise<Inode | undefined> {
    return await this.#parts.target.lookup(this.#parts.cred, dir, name)
  }
}
