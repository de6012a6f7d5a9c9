import type { KeptCall, ReplyStore } from './reply-store.ts'

/**
 * Facts about a call that an earlier process started and did not answer before it died. The call is run again, and its program must find out
 * whether its change was already made.
 */
export class Interruption {
  /** When it was started, in ms of the time of day: its effects are later … */
  readonly startedMs: number
  /** … and earlier than this, when the present process started. */
  readonly diedMs: number
  readonly #call: KeptCall
  readonly #store: ReplyStore

  constructor(call: KeptCall, store: ReplyStore) {
    this.#call = call
    this.#store = store
    this.startedMs = call.startedMs
    this.diedMs = store.openedMs
  }

  /** The stored replies to other calls. `sameWish` marks a call with the same arguments that was answered after this call was started. */
  *otherReplies(): IterableIterator<{ readonly reply: Uint8Array; readonly sameWish: boolean }> {
    for (const { slot, reply, endedAt, argsChecksum } of this.#store.calls()) {
      if (reply === undefined || slot === this.#call.slot) continue
      yield { reply, sameWish: argsChecksum === this.#call.argsChecksum && endedAt > this.#call.startedAt }
    }
  }
}
