import type { Name, Overlay, ResumableStage, StagedFile } from '../../../overlay-core/index.ts'
import type { Logger } from '../api/settings.ts'
import { nameOfText } from '../http/path.ts'
import type { DavView } from './context.ts'

/** A resumable upload. */
export interface ResumableUpload {
  readonly id: string
  readonly view: DavView
  /** Its destination, from the root of the view. */
  readonly names: readonly Name[]
  readonly lengthBytes: number
  readonly staged: StagedFile
  expiresMs: number
  /** Whether a request is adding to it. */
  busy: boolean
}

/** Data stored with an upload, so that it can be resumed after a restart. */
interface About {
  /** The name of the view. */
  readonly view: string
  readonly names: readonly Name[]
  readonly lengthBytes: number
}

/** Serializes the data that lets an upload survive a restart. */
export function aboutUpload({
  view,
  names,
  lengthBytes,
}: Pick<ResumableUpload, 'view' | 'names' | 'lengthBytes'>): Buffer {
  return Buffer.from(JSON.stringify({ view: view.name, names, lengthBytes } satisfies About), 'utf8')
}

/** Uploads in progress, limited in number. They survive a restart, and end when they are complete, terminated, or inactive for too long. */
export class UploadStore {
  readonly #now: () => number
  readonly #lifeMs: number
  readonly #most: number
  readonly #log: Logger
  readonly #uploads = new Map<string, ResumableUpload>()
  #timer: NodeJS.Timeout | undefined
  #loading: Promise<void> | undefined

  constructor(now: () => number, lifeMs: number, most: number, log: Logger) {
    this.#now = now
    this.#lifeMs = lifeMs
    this.#most = most
    this.#log = log
  }

  /** Loads the uploads of the last run. Await it before any other call. */
  load(views: ReadonlyMap<string, DavView>): Promise<void> {
    this.#loading ??= this.#load(views)
    return this.#loading
  }

  async #load(views: ReadonlyMap<string, DavView>): Promise<void> {
    const seen = new Set<Overlay>()
    for (const { overlay, cred } of views.values()) {
      if (seen.has(overlay)) continue
      seen.add(overlay)
      try {
        for (const kept of await overlay.resumableStages(cred)) await this.#takeUp(views, kept)
      } catch (error) {
        this.#log.warn({ err: error }, 'webdav: cannot read the uploads of the last run')
      }
    }
  }

  async #takeUp(views: ReadonlyMap<string, DavView>, { id, about, staged, mtimeSec }: ResumableStage): Promise<void> {
    const found = readAbout(about)
    const view = found && views.get(nameOfText(found.view))
    const expiresMs = mtimeSec * 1000 + this.#lifeMs
    const wanted = found !== undefined && staged.sizeBytes <= found.lengthBytes && expiresMs > this.#now()
    if (view === undefined || !wanted) await staged.discard()
    else this.#keep({ id, view, names: found.names, lengthBytes: found.lengthBytes, staged, expiresMs, busy: false })
  }

  #keep(upload: ResumableUpload): ResumableUpload {
    this.#uploads.set(upload.id, upload)
    this.#timer ??= setInterval(() => this.#expire(), Math.min(this.#lifeMs, 60_000)).unref()
    return upload
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
    return this.#keep({ ...upload, expiresMs: this.#now() + this.#lifeMs, busy: false })
  }

  /** Extends the lifetime of an upload. */
  renew(upload: ResumableUpload): void {
    upload.expiresMs = this.#now() + this.#lifeMs
  }

  /** Removes an upload that was published or discarded. */
  forget(id: string): void {
    this.#uploads.delete(id)
  }

  /** Closes all uploads; the next run resumes them. */
  async close(): Promise<void> {
    await this.#loading
    clearInterval(this.#timer)
    const all = [...this.#uploads.values()]
    this.#uploads.clear()
    for (const { staged } of all) await staged.suspend()
  }

  #expire(): void {
    const now = this.#now()
    for (const upload of this.#uploads.values()) {
      if (upload.busy || upload.expiresMs > now) continue
      this.#uploads.delete(upload.id)
      upload.staged.discard().catch((error: unknown) => {
        this.#log.warn({ err: error }, 'webdav: cannot remove an expired upload')
      })
    }
  }
}

/** Parses the stored data of an upload; undefined if it is not ours. */
function readAbout(about: Uint8Array): About | undefined {
  try {
    const value = JSON.parse(Buffer.from(about).toString('utf8')) as Partial<About>
    const { view, names, lengthBytes } = value
    const whole =
      typeof view === 'string' &&
      Array.isArray(names) &&
      names.every((name) => typeof name === 'string') &&
      Number.isSafeInteger(lengthBytes)
    return whole ? (value as About) : undefined
  } catch {
    return undefined
  }
}
