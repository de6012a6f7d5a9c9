import type { Name } from '../api/types.ts'
import type { BudgetedCache, CacheBudget, CacheShare } from '../base/cache-budget.ts'
import { LargeMap } from '../base/large-map.ts'
import { type LowerName, type LowerReal, NOTHING } from './lower-real.ts'

/** How many absent names are remembered in one directory. Clients ask for any number of them. */
const MOST_ABSENCES = 4096

/** The names in lower directories that overlays of a stack have looked up. The names of a directory are dropped together, by second chance. */
export class LowerNames implements BudgetedCache {
  readonly #share: CacheShare
  readonly #dirs = new Set<LowerReal>()

  /** @param budget counts the names */
  constructor(budget: CacheBudget) {
    this.#share = budget.join(this)
  }

  /** What `dir` has at `name`; undefined if it must be looked up. */
  get(dir: LowerReal, name: Name): LowerName | undefined {
    const { directory } = dir
    const known = directory?.names?.get(name)
    if (directory === undefined || known === undefined) return undefined
    directory.used = true
    this.#share.use()
    return known
  }

  /** Remembers what `dir` has at `name`. */
  set(dir: LowerReal, name: Name, found: LowerName): void {
    const { content } = dir
    const known = content.names?.get(name)
    if (found === NOTHING && known !== NOTHING) {
      if (content.absences === MOST_ABSENCES) return
      content.absences++
    }
    if (found !== NOTHING && known === NOTHING) content.absences--
    if (content.names === undefined) {
      content.names = new LargeMap()
      this.#dirs.add(dir)
    }
    content.names.set(name, found)
    content.used = true
    if (known !== undefined) return
    this.#share.grow(1)
    this.#share.use()
  }

  /** Forgets the names in `dir`. */
  forget(dir: LowerReal): void {
    if (this.#dirs.delete(dir)) this.#drop(dir)
  }

  giveUp(count: number): void {
    const least = this.#share.size - count
    for (const dir of this.#dirs) {
      if (this.#share.size <= least) return
      const { content } = dir
      this.#dirs.delete(dir)
      if (content.used) {
        content.used = false
        this.#dirs.add(dir)
        continue
      }
      this.#drop(dir)
    }
  }

  clear(): void {
    for (const dir of this.#dirs) this.forget(dir)
  }

  #drop({ content }: LowerReal): void {
    this.#share.shrink(content.names?.size ?? 0)
    content.names = undefined
    content.absences = 0
  }
}
