/**
 * The requests of an owner in version 4.0, which have an order (RFC 7530 section 9.1.7): the number of the last one, and its reply for a client that sends it again.
 */
export class OwnerSequence {
  /** Undefined until the first request. */
  last: number | undefined
  /** Whether a request is being executed. */
  busy = false
  /** The result of the last operation from its status on. */
  reply: Uint8Array | undefined
  /** The file that the last OPEN led to, as `lockKeyOf`. */
  file: string | undefined
  /** For owners of opens: whether the client has confirmed that it is no old request (OPEN_CONFIRM). */
  confirmed = false
}
