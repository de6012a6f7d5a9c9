import { type Cred, isErrno } from '../../overlay-core/index.ts'
import type { Operation, Slots } from './operations.ts'
import { show } from './tree.ts'
import { nameOf, type View } from './view.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }

interface Watched {
  readonly atBegin: ReadonlySet<string>
  readonly touched: Set<string>
}

/**
 * Judges the core's listings that were read step by step while the directory changed: every name that was there throughout comes exactly once,
 * no name comes twice, and none that never was there.
 */
export class ListingJudge {
  readonly #watched = new Map<number, Watched>()

  /** Takes an operation in that both sides have done; complaints come at the end of a listing. */
  async see(operation: Operation, failed: boolean, core: Slots, kernel: View): Promise<string[]> {
    if (operation.op === 'listBegin') {
      this.#watched.delete(operation.slot)
      if (!failed) await this.#begin(operation.slot, operation.path, kernel)
      return []
    }
    if (operation.op === 'listEnd') return this.#end(operation.slot, core)
    for (const { touched } of this.#watched.values()) {
      if ('path' in operation) touched.add(nameOf(operation.path))
      if ('to' in operation) touched.add(nameOf(operation.to))
    }
    // What else these took away is not known here.
    if (operation.op === 'rmtree' || operation.op === 'renew') this.forget()
    return []
  }

  forget(): void {
    this.#watched.clear()
  }

  async #begin(slot: number, path: string, kernel: View): Promise<void> {
    try {
      const names = (await kernel.readdir(ROOT, path)).map(({ name }) => name)
      this.#watched.set(slot, { atBegin: new Set(names), touched: new Set() })
    } catch (error) {
      if (!isErrno(error)) throw error
    }
  }

  #end(slot: number, core: Slots): string[] {
    const watched = this.#watched.get(slot)
    const stream = core.streams.get(slot)
    this.#watched.delete(slot)
    if (!watched || !stream) return []
    const counts = new Map<string, number>()
    for (const name of stream.seen) counts.set(name, (counts.get(name) ?? 0) + 1)
    const lines: string[] = []
    for (const [name, count] of counts) {
      if (count > 1 && !watched.touched.has(name))
        lines.push(`listing of ${show(stream.path)}: ${show(name)} came ${count} times`)
      if (!watched.atBegin.has(name) && !watched.touched.has(name))
        lines.push(`listing of ${show(stream.path)}: ${show(name)} never was there`)
    }
    for (const name of watched.atBegin) {
      if (!watched.touched.has(name) && !counts.has(name))
        lines.push(`listing of ${show(stream.path)}: ${show(name)} is missing`)
    }
    return lines
  }
}
