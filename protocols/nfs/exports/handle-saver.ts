import type { Overlay } from '../../../overlay-core/index.ts'
import type { Logger } from '../rpc/logger.ts'

/**
 * Ensures that the handles in a reply lead to their objects even after a crash of the server. If they cannot be saved (a full disk, an upper
 * that became read-only), the objects can still be used until a restart; this is logged once, and again with a count when saving works again.
 */
export class HandleSaver {
  readonly #log: Logger
  #failing = 0
  /** The number of replies whose handles were not saved. */
  failures = 0

  constructor(log: Logger) {
    this.#log = log
  }

  /** Resolves when all handles that the overlay must retain are saved, or cannot be. Undefined if they already are; never rejects. */
  saved(overlay: Overlay): Promise<void> | undefined {
    const saving = overlay.retained()
    if (saving === undefined) return
    return saving.then(
      () => this.#works(),
      (error) => this.#failed(error),
    )
  }

  #works(): void {
    if (this.#failing === 0) return
    this.#log.warn({ answers: this.#failing }, 'file handles are saved on disk again')
    this.#failing = 0
  }

  #failed(error: unknown): void {
    this.failures++
    if (this.#failing++ > 0) return
    this.#log.error(
      { err: error },
      'cannot save file handles on disk: they are valid for this run only; free some space, or make the upper writable',
    )
  }
}
