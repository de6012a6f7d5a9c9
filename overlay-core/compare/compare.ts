import { isErrno } from '../api/errno.ts'
import type { Overlay } from '../api/overlay-api.ts'
import { type Cred, FileType, type Inode, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { aspectsOf } from './aspects.ts'
import type { Aspect, Difference } from './difference.ts'
import { type Apart, Moves } from './moves.ts'
import type { FileIn } from './same-content.ts'

/** The names that are examined at once. */
const WINDOW = 16
/** So many names may wait until it is known where their objects were moved to. Beyond it, moves are told as removed and added. */
const MOST_WAITING = 200_000

/** Objects with a common identity, or both sides of a replaced directory, that have not been looked into yet. */
interface Pair {
  readonly path: readonly Name[]
  /** The path in the base. */
  readonly was: readonly Name[]
  readonly after: Inode | undefined
  readonly before: Inode | undefined
  /** Whether all names count, and not only those of own layers. */
  readonly whole: boolean
}

/** What differs between two objects, of which the one in the base is at `was`. */
export type AspectsAt = (after: FileIn, before: FileIn, was: readonly Name[]) => Promise<Aspect[]>

/**
 * Tells what differs in `overlay` from `base`, a read-only or writable overlay over the same lowers at the bottom. Only names that layers of one of them alone
 * contain are looked at, so it takes time in proportion to the changes. Differences come in no order, moves last. What changes meanwhile is told as it
 * was or as it is.
 *
 * Directories that the caller may not read are left out.
 *
 * @param aspectsAt what counts as a difference of two objects; by default everything that clients see
 */
export async function* compare(
  cred: Cred,
  overlay: Overlay,
  base: Overlay,
  aspectsAt: AspectsAt = (after, before) => aspectsOf(cred, after, before),
): AsyncGenerator<Difference> {
  yield* new Comparison(cred, overlay, base, aspectsAt).run()
}

class Comparison {
  readonly #cred: Cred
  readonly #overlay: Overlay
  readonly #base: Overlay
  readonly #aspectsAt: AspectsAt
  /** How many layers of each are its own, with the upper. */
  readonly #depth: { readonly after: number; readonly before: number }
  readonly #moves = new Moves((inode) => this.#identity(inode, 'before'))
  readonly #pairs: Pair[] = []
  #findsMoves = true

  constructor(cred: Cred, overlay: Overlay, base: Overlay, aspectsAt: AspectsAt) {
    this.#cred = cred
    this.#aspectsAt = aspectsAt
    this.#overlay = overlay
    this.#base = base
    this.#depth = ownLayers(overlay, base)
  }

  async *run(): AsyncGenerator<Difference> {
    yield* await this.#sameObject({ path: [], was: [] }, this.#overlay.root, this.#base.root)
    for (let lookedInside = false; ; ) {
      yield* this.#lookIntoPairs()
      yield* this.#settleMoved()
      if (this.#pairs.length > 0) continue
      // A new directory may contain what was moved.
      yield* this.#settle(({ after }) => after === undefined || !this.#isNewDirectory(after))
      if (this.#pairs.length > 0) continue
      if (!lookedInside && this.#anyUnexplained()) {
        lookedInside = true
        await this.#lookIntoRemoved()
        continue
      }
      yield* this.#settle(() => false)
      if (this.#pairs.length === 0) return
    }
  }

  async *#lookIntoPairs(): AsyncGenerator<Difference> {
    for (let pair = this.#pairs.pop(); pair !== undefined; pair = this.#pairs.pop()) {
      const names = await this.#namesIn(pair)
      for (let at = 0; at < names.length; at += WINDOW) {
        const found = names.slice(at, at + WINDOW).map((name) => this.#examine(pair, name))
        for (const differences of await Promise.all(found)) yield* differences
        if (this.#moves.size <= MOST_WAITING) continue
        this.#findsMoves = false
        yield* this.#settle(() => false)
      }
    }
  }

  async #namesIn({ after, before, whole }: Pair): Promise<Name[]> {
    const names = new Set<Name>()
    for (const [overlay, dir, depth] of [
      [this.#overlay, after, this.#depth.after],
      [this.#base, before, this.#depth.before],
    ] as const) {
      if (dir === undefined) continue
      const found = whole ? this.#allNames(overlay, dir) : overlay.ownNames(this.#cred, dir, depth)
      for (const name of await found.catch(nothingIfForbidden)) names.add(name)
    }
    return [...names]
  }

  async #allNames(overlay: Overlay, dir: Inode): Promise<Name[]> {
    const names: Name[] = []
    await overlay.readdir(this.#cred, dir, 0, ({ name }) => {
      names.push(name)
      return true
    })
    return names
  }

  async #examine(dir: Pair, name: Name): Promise<Difference[]> {
    const after = dir.after && (await this.#found(this.#overlay, dir.after, name))
    const before = dir.before && (await this.#found(this.#base, dir.before, name))
    if (after === undefined && before === undefined) return []
    const paths = { path: [...dir.path, name], was: [...dir.was, name] }
    const identity = after && this.#identity(after, 'after')
    if (after && before && identity !== undefined && identity === this.#identity(before, 'before'))
      return await this.#sameObject(paths, after, before)
    const apart = { ...paths, after, before, inside: false }
    // Nothing can have been moved from here, nor to here.
    if (!this.#findsMoves || (before === undefined && identity === undefined)) return await this.#settled(apart)
    this.#moves.add(apart)
    return []
  }

  async #found(overlay: Overlay, dir: Inode, name: Name): Promise<Inode | undefined> {
    try {
      return await overlay.lookup(this.#cred, dir, name)
    } catch (error) {
      // The directory was removed meanwhile, or must not be searched.
      if (isErrno(error, 'ESTALE', 'EACCES')) return undefined
      throw error
    }
  }

  /** The differences of two objects that are one, wherever they are, or that have one name. `whole`: directories are compared by all of their names. */
  async #sameObject(
    { path, was }: Pick<Apart, 'path' | 'was'>,
    after: Inode,
    before: Inode,
    how: { readonly from?: readonly Name[]; readonly whole?: boolean } = {},
  ): Promise<Difference[]> {
    const { from, whole = false } = how
    const { type } = after
    const directories = type === FileType.directory && before.type === FileType.directory
    const origin = from ?? was
    if (directories) this.#pairs.push({ path, was: origin, after, before, whole })
    else if (type === FileType.directory) this.#pairs.push({ path, was, after, before: undefined, whole: true })
    const here = { overlay: this.#overlay, inode: after }
    const there = { overlay: this.#base, inode: before }
    const aspects = await this.#aspectsAt(here, there, origin).catch(undefinedIfStale)
    if (aspects === undefined) return []
    if (from !== undefined) return [{ kind: 'renamed', path, was, from, aspects, type, after, before }]
    const kind = aspects.length > 0 ? 'changed' : 'same'
    return [{ kind, path, was, aspects, type, after, before, ...(directories && whole && { replaced: true }) }]
  }

  /** Tells of all waiting names for which `stays` is false. */
  async *#settle(stays: (apart: Apart) => boolean): AsyncGenerator<Difference> {
    for (const apart of this.#moves.leave(stays)) {
      yield* await this.#settled(apart)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  async #settled(apart: Apart): Promise<Difference[]> {
    const { path, was, after, before, inside } = apart
    // Nothing may be found to have been moved from here any more.
    apart.before = undefined
    if (after && before) return await this.#sameObject(apart, after, before, { whole: true })
    if (after) {
      if (after.type === FileType.directory) this.#pairs.push({ path, was, after, before: undefined, whole: true })
      return [{ kind: 'added', path, was, aspects: [], type: after.type, after }]
    }
    if (!before || inside) return []
    return [{ kind: 'removed', path: was, was, aspects: [], type: before.type, before }]
  }

  /** Tells of waiting objects of which is known where they were before. */
  async *#settleMoved(): AsyncGenerator<Difference> {
    for (const apart of this.#moves) {
      const { path, was, after } = apart
      const identity = after && this.#identity(after, 'after')
      const moved = identity === undefined ? undefined : this.#moves.take(identity)
      if (loopBudget.spent) await loopBudget.rest()
      if (after === undefined || moved === undefined) continue
      apart.after = undefined
      yield* await this.#sameObject({ path, was }, after, moved.before, { from: moved.was })
    }
  }

  #isNewDirectory(inode: Inode): boolean {
    return inode.type === FileType.directory && this.#identity(inode, 'after') === undefined
  }

  /** Whether an object came from somewhere, and a directory was removed from which it could have come. */
  #anyUnexplained(): boolean {
    let came = false
    let removed = false
    for (const { after, before } of this.#moves) {
      came ||= after !== undefined && this.#identity(after, 'after') !== undefined
      removed ||= before?.type === FileType.directory
    }
    return came && removed
  }

  /** Adds what removed directories contained. */
  async #lookIntoRemoved(): Promise<void> {
    const open: { readonly was: readonly Name[]; readonly dir: Inode }[] = []
    for (const { was, before } of this.#moves) if (before?.type === FileType.directory) open.push({ was, dir: before })
    for (let next = open.pop(); next !== undefined && this.#moves.size <= MOST_WAITING; next = open.pop()) {
      const { was, dir } = next
      for (const name of await this.#allNames(this.#base, dir).catch(nothingIfForbidden)) {
        const before = await this.#found(this.#base, dir, name)
        if (before === undefined) continue
        const path = [...was, name]
        this.#moves.add({ path, was: path, after: undefined, before, inside: true })
        if (before.type === FileType.directory) open.push({ was: path, dir: before })
      }
    }
  }

  #identity(inode: Inode, side: 'after' | 'before'): string | undefined {
    const overlay = side === 'after' ? this.#overlay : this.#base
    return overlay.identityBelow(inode, this.#depth[side])
  }
}

/** How many layers of each overlay the other does not have, with the upper, which counts even if there is none. */
function ownLayers(after: Overlay, before: Overlay): { after: number; before: number } {
  const [a, b] = [after.options.lowerdir, before.options.lowerdir]
  let common = 0
  while (common < a.length && common < b.length && a.at(-1 - common) === b.at(-1 - common)) common++
  return { after: 1 + a.length - common, before: 1 + b.length - common }
}

function nothingIfForbidden(error: unknown): Name[] {
  if (isErrno(error, 'EACCES', 'ESTALE')) return []
  throw error
}

function undefinedIfStale(error: unknown): undefined {
  if (!isErrno(error, 'ESTALE')) throw error
}
