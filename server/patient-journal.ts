import { isUnwritable, type Journal, type LiveRecords } from '../overlay-core/index.ts'

/** The maximum number of bytes that may wait for space on the disk. */
const MOST_OWED_BYTES = 1024 * 1024

/**
 * A journal that accepts records while the disk is full or read-only: they wait in memory and are written before the next record that the disk accepts.
 * `told` is called when records begin to wait; they are lost if the process ends before they are written.
 */
export class PatientJournal implements Journal {
  readonly #to: Journal
  readonly #told: (error: unknown) => void
  #owed: string[] = []
  #owedBytes = 0
  #settling: Promise<void> | undefined

  constructor(to: Journal, told: (error: unknown) => void) {
    this.#to = to
    this.#told = told
  }

  takeRecords(): readonly string[] {
    return this.#to.takeRecords()
  }

  keepShort(live: LiveRecords): void {
    this.#to.keepShort(live)
  }

  async append(record: string): Promise<void> {
    try {
      // Records must not overtake waiting ones.
      if (this.#owed.length > 0) return await this.#owe(record)
      await this.#to.append(record)
    } catch (error) {
      if (!isUnwritable(error) || this.#owedBytes + record.length > MOST_OWED_BYTES) throw error
      if (this.#owed.length === 0) this.#told(error)
      this.#add(record)
    }
  }

  /** Adds a record to those that wait, and tries to write them. @throws the error of the disk if too much waits */
  async #owe(record: string): Promise<void> {
    const fits = this.#owedBytes + record.length <= MOST_OWED_BYTES
    if (fits) this.#add(record)
    this.#settling ??= this.#settle().finally(() => {
      this.#settling = undefined
    })
    try {
      await this.#settling
    } catch (error) {
      if (!fits || !isUnwritable(error)) throw error
      return
    }
    if (!fits) await this.append(record)
  }

  #add(record: string): void {
    this.#owed.push(record)
    this.#owedBytes += record.length
  }

  async #settle(): Promise<void> {
    for (let [first] = this.#owed; first !== undefined; [first] = this.#owed) {
      await this.#to.append(first)
      this.#owed.shift()
      this.#owedBytes -= first.length
    }
  }
}
