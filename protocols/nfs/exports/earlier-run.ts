import {
  type Attr,
  type AttrChange,
  type ChangeInfo,
  type Cred,
  type Inode,
  isErrno,
  type MaybePromise,
  type Overlay,
  OverlayError,
  type Time,
} from '../../../overlay-core/index.ts'
import type { Interruption } from '../rpc/interruption.ts'
import type { HandleCodec } from './file-handle.ts'
import type { ServedView } from './served-view.ts'

/**
 * Calls that are run again because an earlier process died while it ran them (`RpcCall.interruption`). Their change may already be done: then "exists" or "no such
 * name" results from their own success and is reported as success. It is distinguished from changes of others by time (the birth time of an object,
 * which no client can set), by kind, owner or target, and by the replies to other calls.
 */

/** What is needed of a call of any version. */
export interface RunCall {
  readonly rpc: { readonly interruption: Interruption | undefined }
  readonly context: { readonly handles: HandleCodec }
  readonly served: ServedView
  readonly overlay: Overlay
  readonly cred: Cred
  readonly wcc: ChangeInfo | undefined
  readonly wcc2: ChangeInfo | undefined
}

/** File systems use a clock that ticks every 1 to 10 ms; restarting a process takes longer. */
const CLOCK_TICK_MS = 20

/** A name in a directory. */
export interface NameIn {
  readonly dir: Inode
  readonly name: string
}

/** Creates an object at `place` with `make`; an existing object is accepted if an earlier run of the call created it and it is as the call `wants`. */
export async function made(
  call: RunCall,
  place: NameIn,
  wants: (attr: Attr, found: Inode) => boolean | Promise<boolean>,
  make: () => Promise<Inode>,
): Promise<Inode> {
  try {
    return await make()
  } catch (error) {
    const found = isErrno(error, 'EEXIST') ? await madeEarlier(call, place, wants) : undefined
    if (found === undefined) throw error
    await tellAfter(call, place.dir)
    return found
  }
}

/** The object at `place` if an earlier run of the call created it. */
export async function madeEarlier(
  call: RunCall,
  { dir, name }: NameIn,
  wants: (attr: Attr, found: Inode) => boolean | Promise<boolean>,
): Promise<Inode | undefined> {
  const { interruption } = call.rpc
  if (interruption === undefined) return undefined
  const found = await call.overlay.lookup(call.cred, dir, name)
  if (found === undefined) return undefined
  const attr = await call.overlay.getattr(found)
  if (!isWithin(attr.btime ?? attr.ctime, interruption)) return undefined
  if (!(await wants(attr, found)) || wasGiven(call, interruption, found)) return undefined
  return found
}

/** Whether the reply to another call says that it created the object: such replies contain its handle. */
function wasGiven(call: RunCall, interruption: Interruption, object: Inode): boolean {
  call.overlay.retain(object)
  const handle = Buffer.from(call.context.handles.encode(call.served, object))
  for (const { reply } of interruption.otherReplies()) {
    if (Buffer.from(reply.buffer, reply.byteOffset, reply.length).includes(handle)) return true
  }
  return false
}

/** Removes the name at `place` with `remove`, unless an earlier run of the call did. */
export function removed(call: RunCall, place: NameIn, remove: () => MaybePromise<void>): MaybePromise<void> {
  return call.rpc.interruption === undefined ? remove() : removedEarlier(call, place, remove)
}

async function removedEarlier(call: RunCall, place: NameIn, remove: () => MaybePromise<void>): Promise<void> {
  const changed = await unlessGone(call, place, remove)
  if (changed) return
  const { startedMs } = call.rpc.interruption!
  const attr = await call.overlay.getattr(place.dir)
  if (toMs(attr.ctime) < startedMs - CLOCK_TICK_MS || wasGranted(call)) throw new OverlayError('ENOENT', 'remove')
  await tellAfter(call, place.dir)
}

/** Moves `from` to `to` with `move`, unless an earlier run of the call did. */
export async function moved(call: RunCall, from: NameIn, to: NameIn, move: () => Promise<void>): Promise<void> {
  const changed = await unlessGone(call, from, move)
  if (changed) return
  const target = await call.overlay.lookup(call.cred, to.dir, to.name)
  if (target === undefined || !(await changedSince(call, target)) || wasGranted(call)) {
    throw new OverlayError('ENOENT', 'rename')
  }
  await tellAfter(call, from.dir)
  await tellAfter(call, to.dir, call.wcc2)
}

/** Links `object` to `place` with `link`, unless an earlier run of the call did. */
export async function linked(call: RunCall, object: Inode, place: NameIn, link: () => Promise<void>): Promise<void> {
  try {
    await link()
  } catch (error) {
    if (call.rpc.interruption === undefined || !isErrno(error, 'EEXIST')) throw error
    const found = await call.overlay.lookup(call.cred, place.dir, place.name)
    if (found !== object || !(await changedSince(call, object)) || wasGranted(call)) throw error
    await tellAfter(call, place.dir)
  }
}

/** Runs `change`, which removes the name at `place`; false if the call is run again and the name no longer exists. */
async function unlessGone(call: RunCall, place: NameIn, change: () => MaybePromise<void>): Promise<boolean> {
  const { interruption } = call.rpc
  // Check this first: an object that another client has put there since must stay.
  if (interruption !== undefined && (await wasRefilled(call, place, interruption))) return false
  try {
    await change()
    return true
  } catch (error) {
    if (interruption === undefined || !isErrno(error, 'ENOENT')) throw error
    return false
  }
}

/** Whether the present process created the object at `place`: then the object of the call was already gone. */
async function wasRefilled(call: RunCall, { dir, name }: NameIn, interruption: Interruption): Promise<boolean> {
  const { startedMs, diedMs } = interruption
  // The clock was set back, so times cannot be compared.
  if (diedMs < startedMs) return false
  const found = await call.overlay.lookup(call.cred, dir, name)
  if (found === undefined) return false
  const { btime } = await call.overlay.getattr(found)
  if (btime === undefined || toMs(btime) < diedMs - CLOCK_TICK_MS) return false
  // The birth time of a copied-up object is that of its first change.
  return (await call.overlay.provenance(call.cred, dir, name)) === 'upper'
}

/** Whether a reply to another call says that it made the same change. */
function wasGranted(call: RunCall): boolean {
  for (const { reply, sameWish } of call.rpc.interruption!.otherReplies()) if (sameWish && isSuccess(reply)) return true
  return false
}

/** Whether `object` has changed since the call was accepted, including created and moved names. */
async function changedSince(call: RunCall, object: Inode): Promise<boolean> {
  const { ctime } = await call.overlay.getattr(object)
  return toMs(ctime) >= call.rpc.interruption!.startedMs - CLOCK_TICK_MS
}

/** Whether an earlier run of the call made the `change` that led to `now`; setting the same again is harmless. */
export function setEarlier(call: RunCall, now: Attr, { mode, uid, gid, size }: AttrChange): boolean {
  const { interruption } = call.rpc
  if (interruption === undefined) return false
  const is = (wanted: number | undefined, found: number) => wanted === undefined || wanted === found
  const asWished = is(mode, now.mode) && is(uid, now.uid) && is(gid, now.gid) && is(size, now.size)
  return asWished && isWithin(now.ctime, interruption)
}

/** Whether a time was set by the process that died, after it accepted the call. */
function isWithin(stamp: Time, { startedMs, diedMs }: Interruption): boolean {
  const ms = toMs(stamp)
  return ms >= startedMs - CLOCK_TICK_MS && ms < diedMs - CLOCK_TICK_MS
}

/** Omits the attributes from before, because they are no longer known. */
async function tellAfter(call: RunCall, dir: Inode, wcc: ChangeInfo | undefined = call.wcc): Promise<void> {
  if (wcc === undefined) return
  delete wcc.before
  wcc.after = await call.overlay.getattr(dir)
}

/** Whether a stored reply is NFS3_OK: the status follows the 24 bytes of the RPC header. */
function isSuccess(reply: Uint8Array): boolean {
  return reply.length >= 28 && reply.subarray(20, 28).every((byte) => byte === 0)
}

function toMs({ sec, nsec }: Time): number {
  return sec * 1000 + nsec / 1e6
}
