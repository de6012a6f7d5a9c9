import { appendFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { AuditFile } from './audit.ts'

/** Lines that wait for the disk; further ones are lost and counted. */
const MOST_WAITING_CHARS = 1024 * 1024

/** Appends lines to a file, which is opened anew for each batch, so that it may be moved away at any time. */
export class AppendedFile implements AuditFile {
  readonly #path: string
  readonly #log: Logger
  #waiting: string[] = []
  #chars = 0
  #lost = 0
  #writing: Promise<void> | undefined
  #failed = false

  constructor(path: string, log: Logger) {
    this.#path = path
    this.#log = log
  }

  write(line: string): void {
    if (this.#chars + line.length > MOST_WAITING_CHARS) {
      this.#lost++
      return
    }
    this.#waiting.push(line)
    this.#chars += line.length
    this.#writing ??= this.#run()
  }

  async close(): Promise<void> {
    await this.#writing
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lost = this.#lost > 0 ? `${JSON.stringify({ event: 'lines lost', count: this.#lost })}\n` : ''
      const text = this.#waiting.join('') + lost
      this.#waiting = []
      this.#chars = 0
      this.#lost = 0
      await this.#append(text)
    }
    this.#writing = undefined
  }

  async #append(text: string): Promise<void> {
    try {
      await appendFile(this.#path, text, { mode: 0o600 })
      this.#failed = false
    } catch (error) {
      if (!this.#failed) this.#log.error({ err: error }, `cannot write to the audit file ${this.#path}`)
      this.#failed = true
    }
  }
}
