import type { Logger } from 'pino'
import { OptionError } from '../../overlay-core/index.ts'
import { makeDirectory } from '../make-directory.ts'
import { deleteTree } from './delete-tree.ts'
import type { LayerVersions } from './layer-versions.ts'
import { claimViews, isPrivate, pathOfView, removeEmptyDirectory, viewDirectories } from './view-directory.ts'
import { ViewIndex } from './view-index.ts'
import type { ViewRecord } from './view-record.ts'
import type { Registry } from './view-registry.ts'

/** How long the server deletes at its end. What is left then is deleted at the next start. */
const MOST_MS = 5000

/** Where ephemeral views are. */
export interface EphemeralPlace {
  readonly directory: string
  /** Whether the directory is at a place that every user of the machine can write to, and is removed at the end. */
  readonly inMemory: boolean
}

/** The views of a template that end with the server: nothing of them is kept, and what an earlier server left is deleted in the background. */
export class EphemeralRegistry extends ViewIndex implements Registry {
  /** Nothing of these views is kept. */
  readonly layers = undefined
  readonly bin = undefined
  readonly #place: EphemeralPlace
  readonly #log: Logger
  readonly #now: () => number
  readonly #release: () => void
  /** Ids of directories that are being deleted. */
  readonly #leaving = new Set<string>()
  #deleting: Promise<unknown> = Promise.resolve()
  /** When deleting ends. */
  #endMs = Number.POSITIVE_INFINITY

  private constructor(place: EphemeralPlace, parts: { log: Logger; now: () => number; release: () => void }) {
    super()
    this.#place = place
    this.#log = parts.log
    this.#now = parts.now
    this.#release = parts.release
  }

  /** Creates the directory if it is missing. `now`: a monotonic clock, in ms. @throws OptionError another server uses it, or it cannot be used */
  static async open(place: EphemeralPlace, log: Logger, now: () => number): Promise<EphemeralRegistry> {
    const { directory, inMemory } = place
    let release: (() => void) | undefined
    try {
      await makeDirectory(directory)
      if (inMemory && !(await isPrivate(directory)))
        throw new OptionError('directory', `${directory} belongs to another user; remove it, or set \`directory\``)
      release = await claimViews(directory)
      const registry = new EphemeralRegistry(place, { log, now, release })
      for (const id of await viewDirectories(directory)) registry.#leave(id)
      return registry
    } catch (error) {
      release?.()
      const { code } = error as NodeJS.ErrnoException
      if (error instanceof OptionError || code === undefined) throw error
      throw new OptionError('directory', `${directory} cannot be used (${code}); set another \`directory\``)
    }
  }

  knows(id: string): boolean {
    return this.byId(id) !== undefined || this.#leaving.has(id)
  }

  add(view: ViewRecord): void {
    this.put(view)
  }

  /** Nothing in an ephemeral view is promised to be durable. */
  settle(): undefined {
    return undefined
  }

  async rename(view: ViewRecord, name: string): Promise<ViewRecord> {
    const renamed = { ...view, name }
    this.freeName(view.name)
    this.put(renamed)
    return renamed
  }

  async lieOn(view: ViewRecord, versions: LayerVersions): Promise<ViewRecord> {
    const moved = { ...view, versions }
    this.put(moved)
    return moved
  }

  /** Takes effect at once, so that the next request makes another view. */
  async remove({ id, name }: ViewRecord): Promise<void> {
    this.dropId(id)
    this.freeName(name)
  }

  /** Deletes the directory of a removed view in the background. */
  async erase(id: string): Promise<void> {
    this.#leave(id)
  }

  /** Deletes everything, for a few seconds at most, and lets other servers use the directory. */
  async close(): Promise<void> {
    this.#endMs = this.#now() + MOST_MS
    for (const { id } of this.list()) this.#leave(id)
    await this.#deleting
    if (this.#place.inMemory && this.#leaving.size === 0) await removeEmptyDirectory(this.#place.directory)
    this.#release()
  }

  #leave(id: string): void {
    this.#leaving.add(id)
    this.#deleting = this.#deleting.then(() => this.#delete(id))
  }

  async #delete(id: string): Promise<void> {
    const directory = pathOfView(this.#place.directory, id)
    try {
      if (await deleteTree(directory, () => this.#now() >= this.#endMs)) this.#leaving.delete(id)
    } catch (error) {
      this.#log.warn(
        { err: error, directory },
        'an ephemeral view could not be deleted; it is tried again at the next start',
      )
    }
  }
}
