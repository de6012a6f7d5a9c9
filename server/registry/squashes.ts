import type { Logger } from 'pino'
import { isErrno, type Squash } from '../../overlay-core/index.ts'
import type { TemplateView } from './template-view.ts'
import type { ViewLayers } from './view-layers.ts'

/** What a squash did. */
export interface Squashed {
  /** The numbers of frozen layers of the view before and after. */
  readonly before: number
  readonly after: number
}

/** What the squashes of a template work with. */
export interface SquashParts {
  readonly layers: ViewLayers
  readonly log: Logger
  /** The number of frozen layers above which those of a view are merged in the background; undefined: never. */
  readonly threshold: () => number | undefined
}

/**
 * Merges the frozen layers of views that nothing else needs, one view at a time, while clients use them. Changes of the layers of a view, such as a snapshot, do not wait
 * for the merge, which is given up if it does not fit any more. Layers that something reads beside the view (`LayerHolds`) are merged when that has ended.
 */
export class Squashes {
  readonly #parts: SquashParts
  readonly #waiting = new Set<string>()
  /** The ids of the views of which something has read layers that could have been merged. */
  readonly #gaveWay = new Set<string>()
  #last: Promise<unknown> = Promise.resolve()
  #stopped = false

  constructor(parts: SquashParts) {
    this.#parts = parts
  }

  /** Merges the layers of a view in the background if it has too many. */
  later(view: TemplateView): void {
    const { layers, threshold } = this.#parts
    const most = threshold()
    if (most !== undefined && layers.paths(view.record.top).length > most) this.#inBackground(view)
  }

  /** Something has read layers of a view, and reads them no more: merges what was left alone for that. */
  released(view: TemplateView): void {
    if (this.#parts.layers.isHeld(view.record)) return
    if (this.#gaveWay.delete(view.record.id)) this.#inBackground(view)
  }

  #inBackground(view: TemplateView): void {
    const { log } = this.#parts
    if (this.#stopped || this.#waiting.has(view.record.id)) return
    this.#waiting.add(view.record.id)
    const squashed = this.#inTurn(async () => {
      this.#waiting.delete(view.record.id)
      const { before, after } = await this.#squash(view)
      if (after < before) log.info({ view: view.path, before, after }, 'frozen layers of a view were merged')
    })
    squashed.catch((error) => {
      // It was removed or closed meanwhile, or its layers have changed.
      const level = isErrno(error, 'ESTALE') ? 'debug' : 'warn'
      log[level](
        { err: error, view: view.path },
        'the frozen layers of a view were not merged; it is tried again after its next snapshot',
      )
    })
  }

  /** Merges the layers of a view now. @throws the error of the disk · OptionError · OverlayError: its layers are as before, or some groups of them are merged */
  now(view: TemplateView): Promise<Squashed> {
    return this.#inTurn(() => this.#squash(view))
  }

  /** Begins no further merge, and gives up one that runs when its view is closed. */
  stop(): void {
    this.#stopped = true
  }

  /** Resolves when nothing runs any more. */
  async ended(): Promise<void> {
    await this.#last
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => undefined)
    return done
  }

  async #squash(view: TemplateView): Promise<Squashed> {
    const { layers } = this.#parts
    const count = () => layers.paths(view.record.top).length
    const before = count()
    this.#noteHeld(view)
    // From the bottom, so that a merge does not change what is above others.
    for (const group of layers.groups(view.record).reverse()) {
      if (this.#stopped) break
      await this.#merge(view, group)
    }
    return { before, after: count() }
  }

  async #merge(view: TemplateView, group: readonly string[]): Promise<void> {
    const { layers } = this.#parts
    const overlay = await view.use()
    let squash: Squash | undefined
    let adopted = false
    try {
      const directory = await layers.prepareMerge(group)
      squash = overlay.squash(layers.pathsOf(group), directory)
      await squash.make()
      const merge = squash
      await view.inTurn(async () => {
        await layers.holds.exchanging(async () => {
          const frozen = this.#frozenWith(view, group)
          if (frozen === undefined) return this.#noteHeld(view)
          await view.adopt(merge, layers.directoryOf(group[0] as string), frozen)
          adopted = true
          await layers.merged(group)
        })
      })
      if (adopted) await layers.deleteMerged(group)
    } finally {
      if (!adopted) await layers.abandonMerge(group)
      squash?.end()
      view.release()
    }
  }

  #noteHeld(view: TemplateView): void {
    if (this.#parts.layers.isHeld(this.#parts.layers.present(view.record))) this.#gaveWay.add(view.record.id)
  }

  /** The paths of the frozen layers of a view with the merge of `group`; undefined if that does not fit any more. */
  #frozenWith(view: TemplateView, group: readonly string[]): string[] | undefined {
    const { layers } = this.#parts
    const record = layers.present(view.record)
    if (!layers.groups(record).some((present) => present.join().includes(group.join()))) return undefined
    const gone = new Set(layers.pathsOf(group.slice(1)))
    return layers.paths(record.top).filter((path) => !gone.has(path))
  }
}
