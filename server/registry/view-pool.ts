import type { Logger } from 'pino'
import { loopBudget, type Overlay } from '../../overlay-core/index.ts'

/** The maximum number of views that are being opened at the same time. */
const MOST_OPENING = 8
/** How often idle views are looked for. */
const SWEEP_MS = 1000

/** An open view, as the pool sees it. */
export interface Closable {
  /** How long it stays open without use, in ms. */
  readonly idleMs: number
  /** Whether it ends when it is closed, so that only its idle time closes it. */
  readonly ephemeral: boolean
  /** Closes it unless it is in use. Never rejects. */
  close(): Promise<void>
  /** Closes it even if it is in use. Never rejects. */
  end(): Promise<void>
}

/** Who is told of views that are opened and closed. */
export interface PoolHooks {
  /** Lets go of a view that nobody uses, before it is closed. */
  readonly closing: (id: string) => Promise<void>
  /** A view has ended by itself. */
  readonly removed: (id: string) => Promise<void>
  /** Unstable data of a view may be lost, because the disk failed. */
  readonly lost: (error: unknown) => void
  /** The overlay as NFS sees it. */
  readonly guarded: (id: string, overlay: Overlay) => Overlay
}

/** The options of a pool. */
export interface PoolOptions {
  readonly log: Logger
  /** A monotonic clock, in ms. */
  readonly now: () => number
  /** The maximum number of open views; beyond it the one that was idle longest is closed, unless it is ephemeral. */
  readonly mostOpen: number
}

/** Opens views a few at a time and closes those that are idle. */
export class ViewPool {
  readonly log: Logger
  readonly now: () => number
  hooks: PoolHooks = {
    closing: async () => undefined,
    removed: async () => undefined,
    lost: () => undefined,
    guarded: (_id, overlay) => overlay,
  }
  #mostOpen: number
  readonly #waiting: (() => void)[] = []
  #opening = 0
  readonly #open = new Set<Closable>()
  /** Open views without use, by the time since which they are idle. */
  readonly #idle = new Map<Closable, number>()
  /** Open views that are being closed. */
  readonly #closing = new Set<Closable>()
  #sweep: Promise<void> | undefined
  readonly #timer: NodeJS.Timeout

  constructor({ log, now, mostOpen }: PoolOptions) {
    this.log = log
    this.now = now
    this.#mostOpen = mostOpen
    this.#timer = setInterval(() => void this.closeIdle(), SWEEP_MS).unref()
  }

  /** Changes the maximum number of open views, also of those that are open now. */
  set mostOpen(most: number) {
    this.#mostOpen = most
    void this.#closeSurplus()
  }

  /** The number of open views. */
  get size(): number {
    return this.#open.size
  }

  /** Runs `open` when fewer than eight others run. */
  async inTurn<T>(open: () => Promise<T>): Promise<T> {
    if (this.#opening >= MOST_OPENING) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#opening++
    try {
      return await open()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#opening--
      else next()
    }
  }

  /** Counts a view that was opened. */
  opened(view: Closable): void {
    this.#open.add(view)
    void this.#closeSurplus()
  }

  async #closeSurplus(): Promise<void> {
    for (const oldest of this.#idle.keys()) {
      if (this.#open.size - this.#closing.size <= this.#mostOpen) return
      if (!oldest.ephemeral) this.#close(oldest)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  /** Counts a view that was closed. */
  closed(view: Closable): void {
    this.#open.delete(view)
    this.#idle.delete(view)
  }

  /** An open view is used again. */
  busy(view: Closable): void {
    this.#idle.delete(view)
  }

  /** An open view is not used any more. */
  idle(view: Closable): void {
    this.#idle.set(view, this.now())
  }

  /** Closes the views that have been idle for their time. Takes turns: all views of a class may become idle at the same time. */
  closeIdle(): Promise<void> {
    this.#sweep ??= this.#closeIdleSince(this.now()).finally(() => {
      this.#sweep = undefined
    })
    return this.#sweep
  }

  async #closeIdleSince(now: number): Promise<void> {
    for (const [view, since] of [...this.#idle]) {
      // It may have been used while this rested.
      if (now - since >= view.idleMs && this.#idle.get(view) === since) this.#close(view)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  /** Closes all views. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    const end = async (view: Closable) => {
      if (loopBudget.spent) await loopBudget.rest()
      await view.end()
    }
    await Promise.all([...this.#open].map((view) => this.inTurn(() => end(view))))
  }

  #close(view: Closable): void {
    this.#idle.delete(view)
    this.#closing.add(view)
    void view.close().finally(() => this.#closing.delete(view))
  }
}
