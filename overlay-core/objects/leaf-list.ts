import type { Dentry } from './dentry.ts'

/** The number of dentries that `dissolve` removes in one turn of the event loop. */
const AT_ONCE = 2000

/** Dentries in the order of their last use, linked through their own fields, so that adding or removing one needs no allocation and no search. */
export class LeafList {
  #oldest: Dentry | undefined
  #newest: Dentry | undefined
  /** The number of dentries; only this class changes it. */
  size = 0

  get oldest(): Dentry | undefined {
    return this.#oldest
  }

  has(dentry: Dentry): boolean {
    return dentry.list === this
  }

  /** Makes the dentry the newest one, whether or not it was in the list. */
  add(dentry: Dentry): void {
    if (this.#newest === dentry) return
    this.delete(dentry)
    dentry.list = this
    dentry.older = this.#newest
    if (this.#newest === undefined) this.#oldest = dentry
    else this.#newest.newer = dentry
    this.#newest = dentry
    this.size++
  }

  delete(dentry: Dentry): void {
    if (dentry.list !== this) return
    const { older, newer } = dentry
    if (older === undefined) this.#oldest = newer
    else older.newer = newer
    if (newer === undefined) this.#newest = older
    else newer.older = older
    dentry.list = undefined
    dentry.older = undefined
    dentry.newer = undefined
    this.size--
  }

  /** Unlinks all dentries in turns, so that a dentry still in use does not keep the others in memory. */
  dissolve(): void {
    for (let left = AT_ONCE; left > 0 && this.#oldest !== undefined; left--) this.delete(this.#oldest)
    if (this.#oldest !== undefined) setImmediate(() => this.dissolve())
  }
}
