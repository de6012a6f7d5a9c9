import { WireHandle } from '../exports/file-handle.ts'
import { byteRange, lengthOf } from '../locks/byte-range.ts'
import type { Lock, LockOwner } from '../locks/file-locks.ts'
import { type Decoder, ownCopy } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { LM_MAXSTRLEN, MAXNETOBJ_SZ, NLM4_DENIED } from './constants.ts'

/** An `nlm4_lock`. */
export interface NlmLock {
  readonly callerName: string
  readonly handle: WireHandle
  /** The handle as received, to be returned in a callback. */
  readonly handleBytes: Buffer
  /** The owner on the client, opaque. */
  readonly oh: Buffer
  /** The process on the client (`svid`). */
  readonly svid: number
  readonly offset: bigint
  readonly length: bigint
}

/** The holder of a lock, as reported to other clients. */
export class NlmOwner implements LockOwner {
  readonly key: string
  readonly client: string
  readonly svid: number
  readonly oh: Buffer

  constructor(client: string, svid: number, oh: Buffer) {
    this.key = `${client} ${svid} ${oh.toString('latin1')}`
    this.client = client
    this.svid = svid
    this.oh = oh
  }
}

/** Reads a `netobj` into its own memory. */
export function decodeNetobj(args: Decoder): Buffer {
  return ownCopy(args.opaque(MAXNETOBJ_SZ))
}

/** Reads a file handle from a `netobj`. */
export function decodeHandle(args: Decoder): { handle: WireHandle; handleBytes: Buffer } {
  const start = args.pos
  const handle = new WireHandle()
  handle.read(args)
  const length = args.view.getUint32(start)
  return { handle, handleBytes: ownCopy(args.bytes.subarray(start + 4, start + 4 + length)) }
}

/** Reads an `nlm4_lock`. @throws XdrError */
export function decodeLock(args: Decoder): NlmLock {
  const callerName = args.string(LM_MAXSTRLEN)
  const { handle, handleBytes } = decodeHandle(args)
  return {
    callerName,
    handle,
    handleBytes,
    oh: decodeNetobj(args),
    svid: args.u32(),
    offset: args.u64(),
    length: args.u64(),
  }
}

/** The requested lock of `client`; undefined if its range exceeds the last byte. */
export function lockOf(wire: NlmLock, client: string, exclusive: boolean): Lock | undefined {
  const range = byteRange(wire.offset, wire.length)
  return range && { owner: new NlmOwner(client, wire.svid, wire.oh), exclusive, ...range }
}

/** Writes an `nlm4_lock` as it was read. */
export function encodeLock(out: Encoder, lock: NlmLock): void {
  out.string(lock.callerName)
  out.opaque(lock.handleBytes)
  out.opaque(lock.oh)
  out.u32(lock.svid)
  encodeU64(out, lock.offset)
  encodeU64(out, lock.length)
}

/** Writes an `nlm4_res`. */
export function encodeResult(out: Encoder, cookie: Buffer, status: number): void {
  out.opaque(cookie)
  out.u32(status)
}

/** Writes an `nlm4_testres`; `holder` is the holder of the conflicting lock if DENIED. */
export function encodeTestResult(out: Encoder, cookie: Buffer, status: number, holder: Lock | undefined): void {
  encodeResult(out, cookie, status)
  if (status !== NLM4_DENIED || holder === undefined) return
  const { owner, exclusive } = holder
  out.bool(exclusive)
  out.u32(owner instanceof NlmOwner ? owner.svid : 0)
  out.opaque(owner instanceof NlmOwner ? owner.oh : Buffer.alloc(0))
  encodeU64(out, holder.start)
  encodeU64(out, lengthOf(holder))
}

function encodeU64(out: Encoder, value: bigint): void {
  out.view.setBigUint64(out.reserve(8), value)
}
