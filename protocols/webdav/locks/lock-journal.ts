import { loopBudget } from '../../../overlay-core/index.ts'
import type { Journal, Logger } from '../api/settings.ts'

/** A journal is written anew when it has so many lines more than twice those that count. */
const SLACK_LINES = 1000
/** Lines made between two turns of the event loop. */
const SLICE_LINES = 200

/** What counts now: the things to say and how to say one in a line. */
export interface LiveLines<T> {
  /** All of them, never changed afterwards. */
  live(): readonly T[]
  count(): number
  line(item: T): string
}

interface Waiting {
  readonly line: string
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

/**
 * Writes lines to a journal in their order: those that come while a write is under way go together in the next one, so that many
 * clients share one wait for the disk. Writes the file anew when most of it no longer counts.
 */
export class JournalWriter<T> {
  readonly #journal: Journal
  readonly #source: LiveLines<T>
  readonly #log: Logger
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined
  #written: number

  constructor(journal: Journal, source: LiveLines<T>, log: Logger) {
    this.#journal = journal
    this.#source = source
    this.#log = log
    this.#written = journal.lines.length
  }

  /** Resolves when `line` is safe. */
  add(line: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ line, done: resolve, failed: reject })
    this.#writing ??= this.#writeAll()
    return promise
  }

  /** Resolves when nothing is being written any more. */
  async idle(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#write(batch)
        for (const { done } of batch) done()
      } catch (error) {
        // What was half written is cut off from what comes next by an empty line, and does not count.
        this.#written += SLACK_LINES
        this.#log.warn({ err: error }, 'webdav: cannot save locks')
        for (const { failed } of batch) failed(error)
      }
    }
    this.#writing = undefined
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    if (this.#written > 2 * this.#source.count() + SLACK_LINES && (await this.#writeAnew())) return
    await this.#journal.append(`\n${batch.map(({ line }) => line).join('\n')}\n`)
    this.#written += batch.length
  }

  /** The batch at hand is part of what is live by now. False: it did not work, the old file is still good. */
  async #writeAnew(): Promise<boolean> {
    const live = this.#source.live()
    try {
      await this.#journal.replace(inSlices(live, this.#source.line))
      this.#written = live.length
      return true
    } catch (error) {
      this.#log.warn({ err: error }, 'webdav: cannot rewrite the lock journal')
      return false
    }
  }
}

async function* inSlices<T>(items: readonly T[], line: (item: T) => string): AsyncGenerator<string> {
  for (let at = 0; at < items.length; at += SLICE_LINES) {
    yield `${items
      .slice(at, at + SLICE_LINES)
      .map(line)
      .join('\n')}\n`
    await loopBudget.rest()
  }
}
