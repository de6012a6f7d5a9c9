import type { SlotOwner } from '../../rpc/reply-store.ts'
import type { Nfs4Client } from './client.ts'

/** The limits of a channel of a session (`channel_attrs4`, RFC 8881 section 18.36). */
export interface ChannelLimits {
  readonly maxRequestBytes: number
  readonly maxReplyBytes: number
  readonly maxCachedBytes: number
  readonly maxOperations: number
  readonly maxRequests: number
}

/** A slot of a session: its last request, and the reply to that (RFC 8881 section 2.10.6). */
export class Slot implements SlotOwner {
  sequence = 0
  /** Whether the request is being executed. */
  busy = false
  /** The reply, without its RPC header; undefined if the client did not ask for it to be kept. */
  reply: Uint8Array | undefined
  /** The length of the request and the user who sent it, by which a retry is told from another request. */
  requestBytes = 0
  uid = 0
  /** Its place in the memory of requests that must not be done twice; -1 for none. */
  slot = -1

  get running(): boolean {
    return this.busy
  }
}

/** A session: what a client and the server have agreed on, and the slots of its requests. */
export class Session {
  readonly client: Nfs4Client
  /** The number by which it is found, which is also the last word of its id. */
  readonly serial: number
  readonly random: number
  readonly fore: ChannelLimits
  readonly back: ChannelLimits
  readonly callbackProgram: number
  readonly slots: Slot[] = []

  constructor(
    client: Nfs4Client,
    serial: number,
    random: number,
    channels: { fore: ChannelLimits; back: ChannelLimits; callbackProgram: number },
  ) {
    this.client = client
    this.serial = serial
    this.random = random
    this.fore = channels.fore
    this.back = channels.back
    this.callbackProgram = channels.callbackProgram
  }

  /** The slot with this number; undefined beyond the last one. */
  slot(number: number): Slot | undefined {
    if (number >= this.fore.maxRequests) return undefined
    while (this.slots.length <= number) this.slots.push(new Slot())
    return this.slots[number]
  }

  /** Whether a request is being executed. */
  get busy(): boolean {
    return this.slots.some((slot) => slot.busy)
  }
}
