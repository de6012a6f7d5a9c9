import { OverlayError } from '../../../overlay-core/index.ts'

/** Calls that make data durable. If one fails, the kernel has discarded the data that it could not write. */
const FLUSHES = new Set(['fsync', 'fdatasync', 'syncfs'])

/**
 * The verifier in WRITE and COMMIT (`writeverf3`, RFC 1813 section 3.3.7): 8 bytes that a client compares to learn whether unstable data
 * may be lost. It is modified in place.
 */
export class WriteVerifier {
  readonly bytes: Uint8Array
  readonly #renew: () => Promise<Uint8Array>
  #loss: unknown
  #changed: Promise<void> = Promise.resolve()

  /** `renew` creates another verifier and saves it for the next process. */
  constructor(bytes: Uint8Array, renew: () => Promise<Uint8Array>) {
    if (bytes.length !== 8) throw new RangeError('the write verifier must have 8 bytes')
    this.bytes = Uint8Array.from(bytes)
    this.#renew = renew
  }

  /**
   * Changes the verifier, so that all clients send unstable data again. Call it before replying to a request whose error `tellsOfLoss`. Requests that failed
   * with the same error object change it once.
   */
  change(loss: unknown): Promise<void> {
    if (loss !== this.#loss) {
      this.#loss = loss
      this.#changed = this.#renew().then((bytes) => this.bytes.set(bytes))
    }
    return this.#changed
  }
}

/** Whether a request failed to make data durable: then unstable data may be lost, including that of others. */
export function tellsOfLoss(error: unknown): boolean {
  return error instanceof OverlayError && FLUSHES.has(error.op)
}
