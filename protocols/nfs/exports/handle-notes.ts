import type { Overlay } from '../../../overlay-core/index.ts'
import type { Logger } from '../rpc/logger.ts'

/**
 * Sees to it that the handles of an answer would lead to their objects also after a crash of the server. Where they cannot be noted (a full disk, an upper
 * that has become read-only) the objects can be used all the same, until a restart: that is said once, and again with a number when notes work again.
 */
export class HandleNotes {
  readonly #log: Logger
  #failing = 0
  /** Answers since the start whose handles were not noted. */
  failures = 0

  constructor(log: Logger) {
    this.#log = log
  }

  /** Resolves when all handles that the overlay was told to retain are noted, or cannot be. Undefined when they are now; never rejects. */
  kept(overlay: Overlay): Promise<void> | undefined {
    const noted = overlay.retained()
    if (noted === undefined) return
    return noted.then(
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
