import { createHash } from 'node:crypto'
import type { ChangeInfo } from '../../../overlay-core/index.ts'
import type { RunCall } from '../exports/earlier-run.ts'
import { CallDigest } from '../rpc/call-digest.ts'
import { Interruption } from '../rpc/interruption.ts'
import { type KeptCall, OF_SESSION, type ReplyStore } from '../rpc/reply-store.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import type { Slot } from './state/session.ts'

/** By then the reply of a request has been given to the kernel. */
const SENT_MS = 10
const NAME_DIGITS = 40
/** Marks digests of arguments alone, as in `CallDigest.ofArguments`. */
const ARGUMENTS_ONLY = 2

/**
 * Requests that were being executed when an earlier process died. The client sends them again in another session, so they are known by its name and a digest of what
 * follows SEQUENCE. Each is taken once: two users who want the same at the same time do not both get it. A request whose reply was sent is no longer here, because an equal one after
 * the restart is another request.
 */
export class Reruns {
  readonly #store: ReplyStore | undefined
  readonly #digest: CallDigest | undefined
  readonly #earlier = new Map<string, KeptCall[]>()
  readonly #addresses = new Map<string, string>()
  #sent: Slot[] = []
  #timer: NodeJS.Timeout | undefined

  /** Without `store` nothing survives. */
  constructor(store: ReplyStore | undefined) {
    this.#store = store
    this.#digest = store && new CallDigest(store.key)
    for (const kept of store?.earlier ?? []) {
      if (!kept.address.startsWith(OF_SESSION) || kept.reply !== undefined) continue
      const key = `${kept.address} ${kept.checksum}`
      this.#earlier.set(key, [...(this.#earlier.get(key) ?? []), kept])
    }
  }

  /** Call it before an operation that must not be done twice. Sets `call.rpc.interruption` if an earlier process died while it ran the request. */
  begin({ rpc, slot, client, args, argumentsAt }: Nfs4Call): void {
    const store = this.#store
    if (store === undefined || slot === undefined || slot.slot >= 0) return
    const address = this.#addressOf(client!.owner)
    const { bytes, view, end } = args
    const checksum = this.#digest!.of(bytes, view, argumentsAt, end, rpc.credential.uid)
    const kept = this.#earlier.get(`${address} ${checksum}`)?.shift()
    if (kept !== undefined) {
      store.adopt(kept.slot, slot)
      rpc.interruption = new Interruption(kept, store)
      return
    }
    const argsChecksum = this.#digest!.of(bytes, view, argumentsAt, end, ARGUMENTS_ONLY)
    store.begin(slot, { address, xid: 0, checksum, argsChecksum })
  }

  /** Call it when the reply of a request in a slot is complete. */
  ended(slot: Slot): void {
    if (slot.slot < 0) return
    this.#sent.push(slot)
    this.#timer ??= setTimeout(() => this.#forgetSent(), SENT_MS).unref()
  }

  /** Call it before another request in a slot: its client has the reply to the last one. */
  next(slot: Slot): void {
    if (slot.slot >= 0) this.#store?.release(slot)
  }

  #forgetSent(): void {
    this.#timer = undefined
    for (const slot of this.#sent) if (!slot.busy) this.next(slot)
    this.#sent = []
  }

  #addressOf(owner: string): string {
    const known = this.#addresses.get(owner)
    if (known !== undefined) return known
    if (this.#addresses.size > MOST_ADDRESSES) this.#addresses.clear()
    const address = OF_SESSION + createHash('sha256').update(owner, 'latin1').digest('hex').slice(0, NAME_DIGITS)
    this.#addresses.set(owner, address)
    return address
  }
}

const MOST_ADDRESSES = 4096

/** A change in `target` for the functions that find out what an earlier run has done. */
export function runIn(call: Nfs4Call, { served, grant }: Target, wcc: ChangeInfo, wcc2?: ChangeInfo): RunCall {
  const { rpc, context } = call
  context.reruns.begin(call)
  return { rpc, context, served, overlay: served.overlay, cred: grant.cred, wcc, wcc2 }
}
