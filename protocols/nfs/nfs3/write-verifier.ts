import { OverlayError } from '../../../overlay-core/index.ts'

/** Calls that make data durable: when one fails, the kernel has let go of what it could not write. */
const FLUSHES = new Set(['fsync', 'fdatasync', 'syncfs'])

/**
 * The verifier that WRITE and COMMIT carry (`writeverf3`, RFC 1813 section 3.3.7): 8 bytes that a client compares to learn whether unstable data
 * that it has written may be lost. It changes in place.
 */
export class WriteVerifier {
  readonly bytes: Uint8Array
  readonly #renew: () => Promise<Uint8Array>
  #loss: unknown
  #changed: Promise<void> = Promise.resolve()

  /** `renew` makes another verifier and keeps it for the next process. */
  constructor(bytes: Uint8Array, renew: () => Promise<Uint8Array>) {
    if (bytes.length !== 8) throw new RangeError('the write verifier must have 8 bytes')
    this.bytes = Uint8Array.from(bytes)
    this.#renew = renew
  }

  /**
   * To be called before a request is answered that failed so that `tellsOfLoss`: everybody is told to send unstable data again. Requests that failed
   * by one and the same error change it once.
   */
  change(loss: unknown): Promise<void> {
    if (loss !== this.#loss) {
      this.#loss = loss
      this.#changed = this.#renew().then((bytes) => this.bytes.set(bytes))
    }
    return this.#changed
  }
}

/** Whether a request failed at making data durable: then unstable data may be lost, also that of others. */
export function tellsOfLoss(error: unknown): boolean {
  return error instanceof OverlayError && FLUSHES.has(error.op)
}
