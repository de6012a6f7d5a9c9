import type { Logger } from 'pino'
import { loopBudget } from '../../overlay-core/index.ts'
import { isDue, SCHEDULED, surplus } from './snapshot-schedule.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'
import { trashOf } from './trash.ts'
import { hasChanges } from './view-directory.ts'

/** How often it is looked for what is due. */
const TICK_MS = 20_000

/** What housekeeping works with. */
export interface HousekeepingParts {
  readonly templates: () => Iterable<Template>
  readonly log: Logger
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
}

/**
 * Does by itself what is due in the views of templates: takes snapshots and removes old ones, ends views whose time is over, empties the trash. One thing after the other,
 * so that it never takes much of the server.
 */
export class Housekeeping {
  readonly #parts: HousekeepingParts
  /** How often each closed view had been opened when it was found unchanged. */
  readonly #unchanged = new WeakMap<TemplateView, number>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #closed = false

  constructor(parts: HousekeepingParts) {
    this.#parts = parts
  }

  /** Begins to look every few seconds. */
  start(): void {
    this.#timer = setInterval(() => void this.run(), TICK_MS).unref()
  }

  /** Does what is due now. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#runOnce().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Starts nothing any more, and resolves when what runs has ended. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#running
  }

  async #runOnce(): Promise<void> {
    for (const template of [...this.#parts.templates()]) {
      for (const view of [...template.list()]) {
        if (this.#closed) return
        if (this.#isOver(view))
          await this.#tried(view.path, 'could not be ended', () => template.remove(view, { forGood: true }))
        else await this.#tried(view.path, 'has no snapshot of this time', () => this.#keepSnapshots(template, view))
        if (loopBudget.spent) await loopBudget.rest()
      }
      await this.#emptyTrash(template)
    }
  }

  /** Whether a fork that was made for a time, or for as long as it is used, has ended. */
  #isOver({ record: { endsMs, ephemeral, createdMs }, overlay, idleMs }: TemplateView): boolean {
    const now = this.#parts.wallNow()
    if (endsMs !== undefined && endsMs <= now) return true
    return ephemeral === true && overlay === undefined && now - createdMs >= idleMs
  }

  async #keepSnapshots(template: Template, view: TemplateView): Promise<void> {
    const { schedule: counts, directory } = template.settings
    const { log, wallNow } = this.#parts
    if (counts === undefined || !isDue(counts, view.record.snapshots ?? [], wallNow())) return
    const { openings, overlay } = view
    if (overlay === undefined && this.#unchanged.get(view) === openings) return
    if (!(await hasChanges(directory, view.record.id))) {
      if (overlay === undefined) this.#unchanged.set(view, openings)
      return
    }
    const { snapshots } = template
    const { name } = await snapshots.take(view, snapshots.freeName(view, SCHEDULED))
    log.debug({ view: view.path, snapshot: name }, 'a snapshot was taken by schedule')
    for (const old of surplus(counts, view.record.snapshots ?? []))
      await snapshots.remove(view, old.name, { forGood: true })
  }

  async #emptyTrash(template: Template): Promise<void> {
    const now = this.#parts.wallNow()
    for (const { id, path, ends } of trashOf(template)) {
      if (this.#closed) return
      if (Date.parse(ends) <= now) await this.#tried(path, 'stays in the trash', () => template.trash.delete(id))
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  async #tried(path: string, failure: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#parts.log.warn({ err: error, view: path }, `${path} ${failure}: ${(error as Error).message}`)
    }
  }
}
