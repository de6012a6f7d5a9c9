import type { KeptCall, ReplyStore } from './reply-store.ts'

/**
 * What is known of a call that an earlier process took on and died before it had answered: the call is run again, and its program has to find out
 * whether what it asks for was done then.
 */
export class Interruption {
  /** When it was first taken on, in ms of the time of day: what it did was done after that … */
  readonly startedMs: number
  /** … and before this, as nothing that the present process did was done by it. */
  readonly diedMs: number
  readonly #call: KeptCall
  readonly #store: ReplyStore

  constructor(call: KeptCall, store: ReplyStore) {
    this.#call = call
    this.#store = store
    this.startedMs = call.startedMs
    this.diedMs = store.openedMs
  }

  /** The replies that are kept of other calls. `sameWish`: of one with the same arguments, given after this call was taken on. */
  *otherReplies(): IterableIterator<{ readonly reply: Uint8Array; readonly sameWish: boolean }> {
    for (const { slot, reply, endedAt, argsChecksum } of this.#store.calls()) {
      if (reply === undefined || slot === this.#call.slot) continue
      yield { reply, sameWish: argsChecksum === this.#call.argsChecksum && endedAt > this.#call.startedAt }
    }
  }
}
