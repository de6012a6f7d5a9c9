import type { Cred, Name, Overlay, ResumableStage, StagedFile, Time } from '../../../overlay-core/index.ts'
import type { Logger } from '../api/settings.ts'
import type { DavView } from './context.ts'

/** The view of an upload, whoever sees it. */
type UploadView = Pick<DavView, 'id' | 'overlay'>

/** A resumable upload. */
export interface ResumableUpload {
  readonly id: string
  readonly view: UploadView
  /** Who started it, and alone continues it. */
  readonly uid: number
  /** Its destination, from the root of the view. */
  readonly names: readonly Name[]
  readonly lengthBytes: number
  /** The modification time that the file shall have. */
  readonly mtime?: Time | undefined
  readonly staged: StagedFile
  /** The address of the client that started it; empty if it is not known for certain. */
  readonly address: string
  /** When it ends without activity, in ms of the monotonic clock. */
  expiresMs: number
  /** Whether a request is adding to it. */
  busy: boolean
}

/** Data stored with an upload, so that it can be resumed after a restart. */
interface About {
  /** The id of the view. */
  readonly view: string
  readonly names: readonly Name[]
  readonly lengthBytes: number
  readonly mtime?: Time | undefined
  /** Whom its requests act as. Uploads of versions without a login have none: the owner of the staged file counts. */
  readonly by?: Pick<Cred, 'uid' | 'gid' | 'groups'> | undefined
}

/** Serializes the data that lets an upload survive a restart. */
export function aboutUpload(
  { view, names, lengthBytes, mtime }: Pick<ResumableUpload, 'view' | 'names' | 'lengthBytes' | 'mtime'>,
  { uid, gid, groups }: Cred,
): Buffer {
  const by = { uid, gid, groups }
  return Buffer.from(JSON.stringify({ view: view.id, names, lengthBytes, mtime, by } satisfies About), 'utf8')
}

/** The clocks of an upload store, in ms. */
export interface UploadClocks {
  /** A monotonic clock, so that uploads live as long as they should when the time of day is changed. */
  readonly now: () => number
  /** The time of day. */
  readonly wallNow: () => number
}

/** The part of all uploads that one address may have, so that others can start some too. */
const SHARE = 1 / 2
/** The part that one user may have in one view. */
const USER_SHARE = 1 / 4

/** Uploads in progress, limited in number. They survive a restart, and end when they are complete, terminated, or inactive for too long. */
export class UploadStore {
  readonly #clocks: UploadClocks
  readonly #lifeMs: number
  readonly #most: number
  readonly #log: Logger
  readonly #uploads = new Map<string, ResumableUpload>()
  #timer: NodeJS.Timeout | undefined
  /** The loads of uploads of earlier runs. */
  readonly #loading = new WeakMap<Overlay, Promise<void>>()
  readonly #running = new Set<Promise<void>>()

  constructor(clocks: UploadClocks, lifeMs: number, most: number, log: Logger) {
    this.#clocks = clocks
    this.#lifeMs = lifeMs
    this.#most = most
    this.#log = log
  }

  /** Loads the uploads in the view that an earlier run left, or that were suspended when the view was closed. `views`: all that may be on its overlay. Await it before any other call. */
  load(view: UploadView, views: Iterable<UploadView> = []): Promise<void> {
    const { overlay } = view
    const known = this.#loading.get(overlay)
    if (known !== undefined) return known
    const loading = this.#load(view, [view, ...views]).finally(() => this.#running.delete(loading))
    this.#running.add(loading)
    this.#loading.set(overlay, loading)
    return loading
  }

  async #load({ overlay }: UploadView, views: readonly UploadView[]): Promise<void> {
    try {
      for (const kept of await overlay.resumableStages(credOf)) await this.#takeUp(views, kept)
    } catch (error) {
      this.#log.warn({ err: error }, 'webdav: cannot read the uploads of the last run')
    }
  }

  async #takeUp(views: readonly UploadView[], { id, about, staged, mtimeSec, uid }: ResumableStage): Promise<void> {
    const found = readAbout(about)
    const view = found && views.find((each) => each.id === found.view)
    const { now, wallNow } = this.#clocks
    // The time of day may have been changed meanwhile, so it is never kept for longer than from now on.
    const leftMs = Math.min(this.#lifeMs, mtimeSec * 1000 + this.#lifeMs - wallNow())
    const wanted = found !== undefined && staged.sizeBytes <= found.lengthBytes && leftMs > 0
    if (view === undefined || !wanted) await staged.discard()
    else {
      const { names, lengthBytes, mtime, by } = found
      const rest = { names, lengthBytes, mtime, staged, address: '', expiresMs: now() + leftMs, busy: false }
      this.#keep({ id, view, uid: by?.uid ?? uid, ...rest })
    }
  }

  #keep(upload: ResumableUpload): ResumableUpload {
    this.#uploads.set(upload.id, upload)
    this.#timer ??= setInterval(() => this.#expire(), Math.min(this.#lifeMs, 60_000)).unref()
    return upload
  }

  /** Whether there is room for one more of this user in this view, from a client at this address. */
  hasRoom(address: string, view: string, uid: number): boolean {
    this.#expire()
    if (this.#uploads.size >= this.#most) return false
    let [ofAddress, ofUser] = [0, 0]
    for (const upload of this.#uploads.values()) {
      if (address !== '' && upload.address === address) ofAddress++
      if (upload.view.id === view && upload.uid === uid) ofUser++
    }
    return ofAddress < Math.ceil(this.#most * SHARE) && ofUser < Math.ceil(this.#most * USER_SHARE)
  }

  /** When an upload ends without activity, as time of day in ms since the epoch. */
  endOf({ expiresMs }: ResumableUpload): number {
    return this.#clocks.wallNow() + expiresMs - this.#clocks.now()
  }

  find(id: string): ResumableUpload | undefined {
    this.#expire()
    return this.#uploads.get(id)
  }

  add(upload: Omit<ResumableUpload, 'expiresMs' | 'busy'>): ResumableUpload {
    return this.#keep({ ...upload, expiresMs: this.#clocks.now() + this.#lifeMs, busy: false })
  }

  /** Extends the lifetime of an upload. */
  renew(upload: ResumableUpload): void {
    upload.expiresMs = this.#clocks.now() + this.#lifeMs
  }

  /** Removes an upload that was published or discarded. */
  forget(id: string): void {
    this.#uploads.delete(id)
  }

  /** Closes all uploads; the next run resumes them. */
  async close(): Promise<void> {
    await Promise.all(this.#running)
    clearInterval(this.#timer)
    await this.#suspend([...this.#uploads.values()])
  }

  /** Closes the uploads in a view; they are resumed when it is opened again. */
  async closeView(view: string): Promise<void> {
    await this.#suspend([...this.#uploads.values()].filter((upload) => upload.view.id === view))
  }

  async #suspend(uploads: readonly ResumableUpload[]): Promise<void> {
    for (const { id, view } of uploads) {
      this.#uploads.delete(id)
      this.#loading.delete(view.overlay)
    }
    for (const { staged } of uploads) await staged.suspend()
  }

  #expire(): void {
    const now = this.#clocks.now()
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
    if (!whole) return undefined
    return { view, names, lengthBytes: lengthBytes as number, mtime: readTime(value.mtime), by: readBy(value.by) }
  } catch {
    return undefined
  }
}

function readTime(time: Time | undefined): Time | undefined {
  return Number.isSafeInteger(time?.sec) && Number.isSafeInteger(time?.nsec) ? time : undefined
}

function readBy(by: About['by']): About['by'] {
  const isId = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0
  const whole = isId(by?.uid) && isId(by?.gid) && Array.isArray(by?.groups) && by.groups.every(isId)
  return whole ? by : undefined
}

function credOf(about: Uint8Array): Cred | undefined {
  const by = readAbout(about)?.by
  return by && { ...by, dropsPrivilege: true }
}
