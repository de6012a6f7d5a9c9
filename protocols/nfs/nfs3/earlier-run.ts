import {
  type Attr,
  type AttrChange,
  type ChangeInfo,
  type Inode,
  isErrno,
  OverlayError,
  type Time,
} from '../../../overlay-core/index.ts'
import type { Interruption } from '../rpc/interruption.ts'
import type { Nfs3Call } from './nfs3-call.ts'

/**
 * Calls that are run again because a process before this one died while it ran them (`RpcCall.interruption`). What the call is for may be done: then "exists" or "no such
 * name" is the trace of its own success, and is answered as such. Told from the work of others by time (objects keep the time of their birth, which
 * no client can set), by kind, owner or target, and by the replies that others got.
 */

/** File systems stamp with a clock that ticks every 1 to 10 ms; from the death of a process to the next one it takes longer. */
const CLOCK_TICK_MS = 20

/** Where a name is. */
export interface NameIn {
  readonly dir: Inode
  readonly name: string
}

/** Makes an object at `place` by `make`; an object that is there already is taken when an earlier run of the call has made it, being as it `wants`. */
export async function made(
  call: Nfs3Call,
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

/** The object at `place`, if an earlier run of the call has made it. */
export async function madeEarlier(
  call: Nfs3Call,
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

/** Whether another call was told that it had made the object: new objects are answered with their handle. */
function wasGiven(call: Nfs3Call, interruption: Interruption, object: Inode): boolean {
  call.overlay.retain(object)
  const handle = Buffer.from(call.context.handles.encode(call.served.view, object))
  for (const { reply } of interruption.otherReplies()) {
    if (Buffer.from(reply.buffer, reply.byteOffset, reply.length).includes(handle)) return true
  }
  return false
}

/** Removes the name at `place` by `remove`, unless an earlier run of the call has. */
export async function removed(call: Nfs3Call, place: NameIn, remove: () => Promise<void>): Promise<void> {
  const changed = await unlessGone(call, place, remove)
  if (changed) return
  const { startedMs } = call.rpc.interruption!
  const attr = await call.overlay.getattr(place.dir)
  if (toMs(attr.ctime) < startedMs - CLOCK_TICK_MS || wasGranted(call)) throw new OverlayError('ENOENT', 'remove')
  await tellAfter(call, place.dir)
}

/** Moves `from` to `to` by `move`, unless an earlier run of the call has. */
export async function moved(call: Nfs3Call, from: NameIn, to: NameIn, move: () => Promise<void>): Promise<void> {
  const changed = await unlessGone(call, from, move)
  if (changed) return
  const target = await call.overlay.lookup(call.cred, to.dir, to.name)
  if (target === undefined || !(await changedSince(call, target)) || wasGranted(call)) {
    throw new OverlayError('ENOENT', 'rename')
  }
  await tellAfter(call, from.dir)
  await tellAfter(call, to.dir, call.wcc2)
}

/** Gives `object` the name at `place` by `link`, unless an earlier run of the call has. */
export async function linked(call: Nfs3Call, object: Inode, place: NameIn, link: () => Promise<void>): Promise<void> {
  try {
    await link()
  } catch (error) {
    if (call.rpc.interruption === undefined || !isErrno(error, 'EEXIST')) throw error
    const found = await call.overlay.lookup(call.cred, place.dir, place.name)
    if (found !== object || !(await changedSince(call, object)) || wasGranted(call)) throw error
    await tellAfter(call, place.dir)
  }
}

/** Runs `change`, which takes the name at `place` away; false when the call is run again and the name is not there any more. */
async function unlessGone(call: Nfs3Call, place: NameIn, change: () => Promise<void>): Promise<boolean> {
  const { interruption } = call.rpc
  // Before anything else: what another client has put there since must stay.
  if (interruption !== undefined && (await wasRefilled(call, place, interruption))) return false
  try {
    await change()
    return true
  } catch (error) {
    if (interruption === undefined || !isErrno(error, 'ENOENT')) throw error
    return false
  }
}

/** Whether what stands at `place` was made by the present process: then what the call meant had gone before. */
async function wasRefilled(call: Nfs3Call, { dir, name }: NameIn, interruption: Interruption): Promise<boolean> {
  const { startedMs, diedMs } = interruption
  // The clock was put back: what was made when cannot be told.
  if (diedMs < startedMs) return false
  const found = await call.overlay.lookup(call.cred, dir, name)
  if (found === undefined) return false
  const { btime } = await call.overlay.getattr(found)
  if (btime === undefined || toMs(btime) < diedMs - CLOCK_TICK_MS) return false
  // A copy of a lower object is born when it is first changed.
  return (await call.overlay.provenance(call.cred, dir, name)) === 'upper'
}

/** Whether another client, or this one by another call, was told that it had done the same. */
function wasGranted(call: Nfs3Call): boolean {
  for (const { reply, sameWish } of call.rpc.interruption!.otherReplies()) if (sameWish && isSuccess(reply)) return true
  return false
}

/** Whether `object` has changed since the call was taken on; names made and moved count. */
async function changedSince(call: Nfs3Call, object: Inode): Promise<boolean> {
  const { ctime } = await call.overlay.getattr(object)
  return toMs(ctime) >= call.rpc.interruption!.startedMs - CLOCK_TICK_MS
}

/** Whether an earlier run of the call has made the `change`, after which `now` holds: setting the same once more is harmless. */
export function setEarlier(call: Nfs3Call, now: Attr, { mode, uid, gid, size }: AttrChange): boolean {
  const { interruption } = call.rpc
  if (interruption === undefined) return false
  const is = (wanted: number | undefined, found: number) => wanted === undefined || wanted === found
  const asWished = is(mode, now.mode) && is(uid, now.uid) && is(gid, now.gid) && is(size, now.size)
  return asWished && isWithin(now.ctime, interruption)
}

/** Whether a stamp was made by the process that died, after it had taken the call on. */
function isWithin(stamp: Time, { startedMs, diedMs }: Interruption): boolean {
  const ms = toMs(stamp)
  return ms >= startedMs - CLOCK_TICK_MS && ms < diedMs - CLOCK_TICK_MS
}

/** Without attributes from before: nobody knows them any more. */
async function tellAfter(call: Nfs3Call, dir: Inode, wcc: ChangeInfo | undefined = call.wcc): Promise<void> {
  if (wcc === undefined) return
  delete wcc.before
  wcc.after = await call.overlay.getattr(dir)
}

/** Whether a kept reply says NFS3_OK: the status stands behind the 24 bytes of the RPC header. */
function isSuccess(reply: Uint8Array): boolean {
  return reply.length >= 28 && reply.subarray(20, 28).every((byte) => byte === 0)
}

function toMs({ sec, nsec }: Time): number {
  return sec * 1000 + nsec / 1e6
}
