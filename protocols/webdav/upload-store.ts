import type { Name, StagedFile } from '../../overlay-core/index.ts'
import type { ServedView } from './context.ts'
import type { Logger } from './settings.ts'

/** An upload that may be interrupted and taken up again. */
export interface ResumableUpload {
  readonly id: string
  readonly view: ServedView
  /** Where it goes: from the root of the view. */
  readonly names: readonly Name[]
  readonly lengthBytes: number
  readonly staged: StagedFile
  expiresMs: number
  /** A request is adding to it. */
  busy: boolean
}

/** Uploads under way, at most so many. They end with the process, when they are complete, given up, or not heard of for too long. */
export class UploadStore {
  readonly #now: () => number
  readonly #lifeMs: number
  readonly #most: number
  readonly #log: Logger
  readonly #uploads = new Map<string, ResumableUpload>()
  #timer: NodeJS.Timeout | undefined

  constructor(now: () => number, lifeMs: number, most: number, log: Logger) {
    this.#now = now
    this.#lifeMs = lifeMs
    this.#most = most
    this.#log = log
  }

  /** Whether there is room for one more. */
  get hasRoom(): boolean {
    this.#expire()
    return this.#uploads.size < this.#most
  }

  find(id: string): ResumableUpload | undefined {
    this.#expire()
    return this.#uploads.get(id)
  }

  add(upload: Omit<ResumableUpload, 'expiresMs' | 'busy'>): ResumableUpload {
    const added = { ...upload, expiresMs: this.#now() + this.#lifeMs, busy: false }
    this.#uploads.set(upload.id, added)
    this.#timer ??= setInterval(() => this.#expire(), Math.min(this.#lifeMs, 60_000)).unref()
    return added
  }

  /** Gives an upload another span of life. */
  renew(upload: ResumableUpload): void {
    upload.expiresMs = this.#now() + this.#lifeMs
  }

  /** Forgets an upload that was published or discarded. */
  forget(id: string): void {
    this.#uploads.delete(id)
  }

  /** Gives all uploads up. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    const all = [...this.#uploads.values()]
    this.#uploads.clear()
    for (const { staged } of all) await staged.discard()
  }

  #expire(): void {
    const now = this.#now()
    for (const upload of this.#uploads.values()) {
      if (upload.busy || upload.expiresMs > now) continue
      this.#uploads.delete(upload.id)
      upload.staged.discard().catch((error: unknown) => {
        this.#log.warn({ err: error }, 'webdav: the rest of an expired upload could not be removed')
      })
    }
  }
}
