import { join } from 'node:path'
import type { Logger } from 'pino'
import { loopBudget, OptionError } from '../../overlay-core/index.ts'
import { JournalFile } from '../journal-file.ts'
import { makeDirectory } from '../make-directory.ts'
import { sync } from '../whole-file.ts'
import type { LayerVersions } from './layer-versions.ts'
import { SharedTurns } from './shared-turns.ts'
import { ViewBin } from './view-bin.ts'
import {
  claimViews,
  deleteUnfinished,
  deleteViewDirectory,
  readRecord,
  syncViewDirectory,
  viewDirectories,
  writeRecord,
} from './view-directory.ts'
import { ViewIndex } from './view-index.ts'
import { ViewLayers } from './view-layers.ts'
import { foldedName, viewNameError } from './view-name.ts'
import { decodeLine, encodeLine, isAboutLayers, type RegistryLine, type ViewRecord } from './view-record.ts'

/** The file of the registry, in the directory of the template. */
const FILE = 'views'
/** A new view becomes durable after this time, if it need not be before. */
const SETTLE_MS = 5000
/** The number of views whose directories are synced at the same time. */
const SYNCED_AT_ONCE = 4
/** The number of views that one line of the log names. */
const MOST_NAMED = 20

/** The views of one template, by name and id. */
export type Registry = Omit<Pick<ViewRegistry, keyof ViewRegistry>, 'layers' | 'bin'> & {
  /** Removed views that can be restored; undefined for views that are not kept. */
  readonly bin: ViewBin | undefined
  /** The frozen layers and snapshots; undefined for views that are not kept. */
  readonly layers: ViewLayers | undefined
}

/**
 * The views of one template, by name and id: an append-only file in the directory of their uppers, so that both are moved and backed up together. New names and
 * removals are durable when their promises resolve. A new view outlives the process by its directory; it is durable, and in the file, when `settle` resolves,
 * or some seconds later. Only one server uses the directory.
 */
export class ViewRegistry extends ViewIndex {
  readonly #directory: string
  readonly #log: Logger
  readonly #journal: JournalFile
  readonly #release: () => void
  readonly layers: ViewLayers
  /** Removed views that can be restored. */
  readonly bin: ViewBin
  /** Views whose directories are being deleted, with their orders. */
  readonly #leaving = new Map<string, number>()
  /** New views that may not be durable yet, and those of them that are not in the file yet. */
  readonly #unsettled = new Set<string>()
  readonly #unwritten = new Set<string>()
  /** Why the directories of new views could not be made durable. */
  readonly #failures = new Map<string, unknown>()
  readonly #settling = new SharedTurns<string>((ids) => this.#settleTogether(ids))
  #timer: NodeJS.Timeout | undefined

  private constructor(parts: { directory: string; log: Logger; journal: JournalFile; release: () => void }) {
    super()
    this.#directory = parts.directory
    this.#log = parts.log
    this.#journal = parts.journal
    this.#release = parts.release
    this.layers = new ViewLayers({
      ...{ directory: parts.directory, log: parts.log },
      byId: (id) => this.byId(id),
      list: () => this.#all(),
      replace: (view) => this.put(view),
      append: (line) => this.#append(line),
    })
    this.bin = new ViewBin({
      takeOut: ({ id, name }) => {
        this.dropId(id)
        this.freeName(name)
      },
      put: (view) => this.put(view),
      append: (line) => this.#append(line),
    })
  }

  /** The views, with those that were removed and can be restored. */
  *#all(): Iterable<ViewRecord> {
    yield* this.list()
    for (const { view } of this.bin.list()) yield view
  }

  /** Reads the registry of a template. Creates the directory if it is missing. @throws OptionError another server uses it, or it cannot be used */
  static async open(directory: string, log: Logger): Promise<ViewRegistry> {
    let release: (() => void) | undefined
    try {
      await makeDirectory(directory)
      release = await claimViews(directory)
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

  /** Whether a view had this id since the registry was opened, or has it. */
  knows(id: string): boolean {
    return this.byId(id) !== undefined || this.#leaving.has(id) || this.bin.has(id)
  }

  /** Adds a view, whose directory and record must be there. */
  add(view: ViewRecord): void {
    this.put(view)
    this.#unsettled.add(view.id)
    this.#unwritten.add(view.id)
    this.#settleSoon()
  }

  /** Makes a view durable, together with others; undefined if it is. @throws ENOSPC | EDQUOT | EROFS | EIO */
  settle(id: string): Promise<void> | undefined {
    return this.#unsettled.has(id) ? this.#settleNow(id) : undefined
  }

  async #settleNow(id: string): Promise<void> {
    await this.#settling.add([id])
    if (this.#failures.has(id)) throw this.#failures.get(id)
  }

  /** Gives a view another name. */
  async rename(view: ViewRecord, name: string): Promise<ViewRecord> {
    await this.settle(view.id)
    const renamed = { ...view, name }
    const [before, after] = [foldedName(view.name), foldedName(name)]
    // At once, for a rewrite of the file; the old name stays taken until the new one is durable.
    this.put(renamed)
    try {
      await this.#append({ kind: 'renamed', id: view.id, name })
    } catch (error) {
      if (after !== before) this.freeName(name)
      this.put(view)
      throw error
    }
    if (after !== before) this.freeName(view.name)
    // The registry decides; the copy in the directory is only for a registry that was lost.
    await writeRecord(join(this.#directory, view.id), renamed).catch((error) =>
      this.#log.warn({ err: error, view: name }, 'the new name of a view was not saved in its directory'),
    )
    return renamed
  }

  /** Notes the versions of layers on which a view lies from now on, and whether it gets the newest ones when it is opened next; durable when it resolves. */
  async lieOn(view: ViewRecord, versions: LayerVersions, due?: true): Promise<ViewRecord> {
    await this.settle(view.id)
    await this.#append({ kind: 'on', id: view.id, versions, due })
    const moved = { ...(this.byId(view.id) ?? view), versions, due }
    this.put(moved)
    await writeRecord(join(this.#directory, view.id), moved).catch((error) =>
      this.#log.warn({ err: error, view: view.name }, 'the versions of a view were not saved in its directory'),
    )
    return moved
  }

  /** Takes a view out; its name can be used again. Call `erase` when it is closed. */
  async remove(view: ViewRecord): Promise<void> {
    const { id, name, order } = view
    if (this.bin.has(id)) {
      await this.#append({ kind: 'removed', id, order })
      this.bin.drop(id)
      this.#leaving.set(id, order)
      return
    }
    this.dropId(id)
    this.#leaving.set(id, order)
    try {
      await this.#append({ kind: 'removed', id, order })
    } catch (error) {
      this.#leaving.delete(id)
      this.put(view)
      throw error
    }
    this.freeName(name)
    this.#unsettled.delete(id)
    this.#unwritten.delete(id)
    this.#failures.delete(id)
  }

  /** Deletes the directory of a removed view. */
  async erase(id: string): Promise<void> {
    const order = this.#leaving.get(id)
    if (order === undefined) return
    await deleteViewDirectory(this.#directory, id)
    await this.#append({ kind: 'deleted', id, order })
    this.#leaving.delete(id)
    await this.layers.collect()
  }

  /** Closes the file and lets other servers use the directory. */
  async close(): Promise<void> {
    await this.#settleAll()
    clearTimeout(this.#timer)
    await this.#journal.close()
    this.#release()
  }

  #settleSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#settleAll()
    }, SETTLE_MS).unref()
  }

  /** Never rejects: what fails is tried again. */
  async #settleAll(): Promise<void> {
    if (this.#unsettled.size === 0) return
    try {
      await this.#settling.add(this.#unsettled)
      for (const error of this.#failures.values()) throw error
    } catch (error) {
      this.#log.warn(
        { err: error, directory: this.#directory },
        'new views are not on disk yet, so a power loss may undo them; this is tried again',
      )
    }
    if (this.#unsettled.size > 0) this.#settleSoon()
  }

  async #settleTogether(ids: ReadonlySet<string>): Promise<void> {
    const waiting = [...ids]
    const synced: string[] = []
    const syncEach = async () => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) if (await this.#sync(id)) synced.push(id)
    }
    await Promise.all(Array.from({ length: SYNCED_AT_ONCE }, syncEach))
    await sync(this.#directory)
    await Promise.all(synced.map((id) => this.#write(id)))
  }

  /** Makes the directories of a new view durable. The disk of one view may fail alone. */
  async #sync(id: string): Promise<boolean> {
    if (!this.#unsettled.has(id)) return false
    try {
      await syncViewDirectory(this.#directory, id)
      this.#failures.delete(id)
      return true
    } catch (error) {
      this.#failures.set(id, error)
      return false
    }
  }

  /** Adds a new view, whose directory is durable, to the file. */
  async #write(id: string): Promise<void> {
    const view = this.byId(id)
    if (view === undefined || !this.#unwritten.delete(id)) return
    try {
      await this.#append({ kind: 'made', view })
    } catch (error) {
      this.#unwritten.add(id)
      throw error
    }
    this.#unsettled.delete(id)
  }

  #append(line: RegistryLine): Promise<void> {
    return this.#journal.append(encodeLine(line))
  }

  async #load(lines: readonly string[]): Promise<void> {
    for (const text of lines) {
      const line = decodeLine(text)
      if (line !== undefined) this.#replay(line)
      if (loopBudget.spent) await loopBudget.rest()
    }
    await this.#takeIn(await viewDirectories(this.#directory))
    this.#journal.keepShort({
      count: () => this.size + this.#leaving.size + this.layers.size + 2 * this.bin.size,
      records: () => this.#records(),
      failed: (error) => this.#log.warn({ err: error, directory: this.#directory }, 'the registry was not rewritten'),
    })
    // What a crash interrupted. A directory that cannot be deleted now is tried at the next start.
    for (const id of this.#leaving.keys()) {
      await this.erase(id).catch((error) =>
        this.#log.warn({ err: error, directory: join(this.#directory, id) }, 'a removed view could not be deleted'),
      )
    }
    await this.layers.recover()
  }

  #replay(line: RegistryLine): void {
    if (line.kind === 'made') {
      this.put(line.view)
      return
    }
    if (isAboutLayers(line)) {
      this.layers.replay(line)
      return
    }
    const view = this.byId(line.id)
    if (line.kind === 'on') {
      if (view !== undefined) this.put({ ...view, versions: line.versions, due: line.due })
      return
    }
    if (line.kind === 'binned') {
      if (view) this.bin.replayTake(view, line.atMs)
      return
    }
    if (line.kind === 'unbinned') {
      this.bin.replayRestore(line.id, line.name)
      return
    }
    if (line.kind === 'renamed') {
      if (view === undefined) return
      this.freeName(view.name)
      this.put({ ...view, name: line.name })
      return
    }
    this.pastOrder(line.order)
    this.bin.drop(line.id)
    if (view !== undefined) {
      this.dropId(view.id)
      this.freeName(view.name)
    }
    if (line.kind === 'removed') this.#leaving.set(line.id, line.order)
    else this.#leaving.delete(line.id)
  }

  /** Takes in views that have a directory but are not in the file: they were new when the server was killed, or the file was cut short or lost. */
  async #takeIn(ids: readonly string[]): Promise<void> {
    const found: ViewRecord[] = []
    for (const id of ids) {
      if (this.knows(id)) continue
      const view = await readRecord(this.#directory, id)
      if (view !== undefined && viewNameError(view.name) === undefined) found.push(view)
      else if (view !== undefined || !(await this.#deleteUnfinished(id))) this.#logStranger(id, view)
    }
    const orders = new Set([...this.list()].map(({ order }) => order))
    const taken: string[] = []
    for (const view of found.sort((a, b) => a.order - b.order)) {
      if (this.alike(view.name) !== undefined) {
        this.#logStranger(view.id, view)
        continue
      }
      const order = orders.has(view.order) ? this.nextOrder() : view.order
      orders.add(order)
      this.add({ ...view, order })
      taken.push(view.name)
    }
    if (taken.length > 0)
      this.#log.warn(
        { directory: this.#directory, views: taken.slice(0, MOST_NAMED) },
        `${taken.length} views were not in the registry and were found by their directories: they were new when the server was killed, or the registry was damaged`,
      )
  }

  #logStranger(id: string, view: ViewRecord | undefined): void {
    this.#log.error(
      { directory: join(this.#directory, id), name: view?.name },
      'this directory belongs to no view; move it away, or remove it if nobody misses it',
    )
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
    for (const layer of this.layers.records) yield encodeLine({ kind: 'layer', layer })
    // First, because others may have their names now.
    for (const { view, removedMs } of [...this.bin.list()]) {
      yield encodeLine({ kind: 'made', view })
      yield encodeLine({ kind: 'binned', id: view.id, atMs: removedMs })
    }
    for (const view of [...this.list()]) if (!this.#unwritten.has(view.id)) yield encodeLine({ kind: 'made', view })
    for (const [id, order] of [...this.#leaving]) yield encodeLine({ kind: 'removed', id, order })
  }
}
