import type { Dentry } from './dentry.ts'

/** How many dentries are taken out of a list that is given up, between two turns of the event loop. */
const AT_ONCE = 2000

/** Dentries by the time of their last use, chained by fields of their own: nothing has to grow, or be looked up, when one comes or goes. */
export class LeafList {
  #oldest: Dentry | undefined
  #newest: Dentry | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  get oldest(): Dentry | undefined {
    return this.#oldest
  }

  has(dentry: Dentry): boolean {
    return dentry.list === this
  }

  /** Makes it the newest one, whether it was in the list or not. */
  add(dentry: Dentry): void {
    if (this.#newest === dentry) return
    this.delete(dentry)
    dentry.list = this
    dentry.older = this.#newest
    if (this.#newest === undefined) this.#oldest = dentry
    else this.#newest.newer = dentry
    this.#newest = dentry
    this.#size++
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
    this.#size--
  }

  /** Takes all out, in turns: one that is still held by somebody must not hold the others. */
  dissolve(): void {
    for (let left = AT_ONCE; left > 0 && this.#oldest !== undefined; left--) this.delete(this.#oldest)
    if (this.#oldest !== undefined) setImmediate(() => this.dissolve())
  }
}
