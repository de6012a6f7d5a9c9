import type { Journal, LiveRecords } from '../../overlay-core/index.ts'

/** A journal in memory that a later store can go on with, and whose appends a test can hold up or let fail. */
export class MemoryJournal implements Journal {
  records: string[]
  live: LiveRecords | undefined
  failing: Error | undefined
  #gate: Promise<void> | undefined

  constructor(records: readonly string[] = []) {
    this.records = [...records]
  }

  takeRecords(): readonly string[] {
    return [...this.records]
  }

  /** Holds appends up until the function it returns is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gate = promise
    return () => {
      this.#gate = undefined
      resolve()
    }
  }

  async append(record: string): Promise<void> {
    if (this.#gate !== undefined) await this.#gate
    if (this.failing !== undefined) throw this.failing
    this.records.push(record)
  }

  keepShort(live: LiveRecords): void {
    this.live = live
  }
}
