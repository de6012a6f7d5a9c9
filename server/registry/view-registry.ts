import { join } from 'node:path'
import type { Logger } from 'pino'
import { claimDirectory, loopBudget, OptionError } from '../../overlay-core/index.ts'
import { JournalFile } from '../journal-file.ts'
import { makeDirectory } from '../make-directory.ts'
import { deleteUnfinished, deleteViewDirectory, readRecord, viewDirectories, writeRecord } from './view-directory.ts'
import { foldedName, viewNameError } from './view-name.ts'
import { decodeLine, encodeLine, type RegistryLine, type ViewRecord } from './view-record.ts'

/** The file of the registry, in the directory of the template. */
const FILE = 'views'

/** The views of one template, by name and id. */
export type Registry = Pick<ViewRegistry, keyof ViewRegistry>

/**
 * The views of one template, by name and id: an append-only file in the directory of their uppers, so that both are moved and backed up together. A
 * change is on disk when its promise resolves. Only one server uses the directory.
 */
export class ViewRegistry {
  readonly #directory: string
  readonly #log: Logger
  readonly #journal: JournalFile
  readonly #release: () => void
  readonly #byId = new Map<string, ViewRecord>()
  /** By folded name. */
  readonly #byName = new Map<string, ViewRecord>()
  /** Views whose directories are being deleted, with their orders. */
  readonly #leaving = new Map<string, number>()
  #lastOrder = 0

  private constructor(parts: { directory: string; log: Logger; journal: JournalFile; release: () => void }) {
    this.#directory = parts.directory
    this.#log = parts.log
    this.#journal = parts.journal
    this.#release = parts.release
  }

  /** Reads the registry of a template. Creates the directory if it is missing. @throws OptionError another server uses it, or it cannot be used */
  static async open(directory: string, log: Logger): Promise<ViewRegistry> {
    let release: (() => void) | undefined
    try {
      await makeDirectory(directory)
      release = await claimDirectory(directory)
      if (release === undefined)
        throw new OptionError('directory', `another server uses ${directory}; choose another directory`)
      const journal = await JournalFile.open(join(directory, FILE), 'views')
      const registry = new ViewRegistry({ directory, log, journal, release })
      await registry.#load(journal.takeRecords())
      return registry
    } catch (error) {
      release?.()
      if (error instanceof OptionError) throw new OptionError('directory', error.reason)
      const { code } = error as NodeJS.ErrnoException
      if (code === undefined) throw error
      throw new OptionError('directory', `${directory} cannot be used (${code}); choose another directory`)
    }
  }

  get size(): number {
    return this.#byId.size
  }

  byId(id: string): ViewRecord | undefined {
    return this.#byId.get(id)
  }

  /** The view with exactly this name. */
  byName(name: string): ViewRecord | undefined {
    const found = this.#byName.get(foldedName(name))
    return found?.name === name ? found : undefined
  }

  /** The view whose name differs from this at most in case or Unicode form. */
  alike(name: string): ViewRecord | undefined {
    return this.#byName.get(foldedName(name))
  }

  /** All views, by their order. */
  list(): Iterable<ViewRecord> {
    return this.#byId.values()
  }

  /** An order that no view has had. */
  nextOrder(): number {
    return ++this.#lastOrder
  }

  /** Whether a view had this id since the registry was opened, or has it. */
  knows(id: string): boolean {
    return this.#byId.has(id) || this.#leaving.has(id)
  }

  /** Adds a view, whose directory must be there. */
  async add(view: ViewRecord): Promise<void> {
    await this.#append({ kind: 'made', view })
    this.#put(view)
  }

  /** Gives a view another name. */
  async rename(view: ViewRecord, name: string): Promise<ViewRecord> {
    await this.#append({ kind: 'renamed', id: view.id, name })
    const renamed = { ...view, name }
    this.#byName.delete(foldedName(view.name))
    this.#put(renamed)
    // The registry decides; the copy in the directory is only for a registry that was lost.
    await writeRecord(join(this.#directory, view.id), renamed).catch((error) =>
      this.#log.warn({ err: error, view: name }, 'the new name of a view was not saved in its directory'),
    )
    return renamed
  }

  /** Takes a view out; its name can be used again. Call `erase` when it is closed. */
  async remove({ id, name, order }: ViewRecord): Promise<void> {
    await this.#append({ kind: 'removed', id, order })
    this.#byId.delete(id)
    this.#byName.delete(foldedName(name))
    this.#leaving.set(id, order)
  }

  /** Deletes the directory of a removed view. */
  async erase(id: string): Promise<void> {
    const order = this.#leaving.get(id)
    if (order === undefined) return
    await deleteViewDirectory(this.#directory, id)
    await this.#append({ kind: 'deleted', id, order })
    this.#leaving.delete(id)
  }

  /** Closes the file and lets other servers use the directory. */
  async close(): Promise<void> {
    await this.#journal.close()
    this.#release()
  }

  #append(line: RegistryLine): Promise<void> {
    return this.#journal.append(encodeLine(line))
  }

  #put(view: ViewRecord): void {
    this.#byId.set(view.id, view)
    this.#byName.set(foldedName(view.name), view)
    this.#lastOrder = Math.max(this.#lastOrder, view.order)
  }

  async #load(lines: readonly string[]): Promise<void> {
    for (const text of lines) {
      const line = decodeLine(text)
      if (line !== undefined) this.#replay(line)
      if (loopBudget.spent) await loopBudget.rest()
    }
    await this.#takeIn(await viewDirectories(this.#directory))
    this.#journal.keepShort({
      count: () => this.size + this.#leaving.size,
      records: () => this.#records(),
      failed: (error) => this.#log.warn({ err: error, directory: this.#directory }, 'the registry was not rewritten'),
    })
    // What a crash interrupted. A directory that cannot be deleted now is tried at the next start.
    for (const id of this.#leaving.keys()) {
      await this.erase(id).catch((error) =>
        this.#log.warn({ err: error, directory: join(this.#directory, id) }, 'a removed view could not be deleted'),
      )
    }
  }

  #replay(line: RegistryLine): void {
    if (line.kind === 'made') {
      this.#put(line.view)
      return
    }
    const view = this.#byId.get(line.id)
    if (line.kind === 'renamed') {
      if (view === undefined) return
      this.#byName.delete(foldedName(view.name))
      this.#put({ ...view, name: line.name })
      return
    }
    this.#lastOrder = Math.max(this.#lastOrder, line.order)
    if (view !== undefined) {
      this.#byId.delete(view.id)
      this.#byName.delete(foldedName(view.name))
    }
    if (line.kind === 'removed') this.#leaving.set(line.id, line.order)
    else this.#leaving.delete(line.id)
  }

  /** Takes in views that have a directory but no record, because the file was cut short or lost. */
  async #takeIn(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      if (this.knows(id)) continue
      const directory = join(this.#directory, id)
      const view = await readRecord(this.#directory, id)
      const usable = view !== undefined && viewNameError(view.name) === undefined
      if (view === undefined && (await this.#deleteUnfinished(id))) continue
      if (!usable || this.alike(view.name) !== undefined) {
        this.#log.error(
          { directory, name: view?.name },
          'this directory belongs to no view; move it away, or remove it if nobody misses it',
        )
        continue
      }
      this.#log.error({ directory, view: view.name }, 'the registry had lost this view; it was found by its directory')
      const order = view.order > this.#lastOrder ? view.order : this.nextOrder()
      await this.add({ ...view, order })
    }
  }

  /** Whether this was the directory of a view that was never finished. If it cannot be deleted now, that is tried at the next start. */
  async #deleteUnfinished(id: string): Promise<boolean> {
    try {
      return await deleteUnfinished(this.#directory, id)
    } catch (error) {
      this.#log.warn({ err: error, directory: join(this.#directory, id) }, 'an unfinished view could not be deleted')
      return true
    }
  }

  *#records(): Iterable<string> {
    for (const view of [...this.#byId.values()]) yield encodeLine({ kind: 'made', view })
    for (const [id, order] of [...this.#leaving]) yield encodeLine({ kind: 'removed', id, order })
  }
}
