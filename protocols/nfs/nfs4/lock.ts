import { lockKeyOf } from '../exports/file-handle.ts'
import { byteRange, lengthOf } from '../locks/byte-range.ts'
import type { Lock, LockOwner } from '../locks/file-locks.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { currentLock, currentOpen } from './find-state.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import { mustBeRegular } from './open-file.ts'
import type { Operation } from './operation.ts'
import { clientNamed, isStateAgain } from './sequenced.ts'
import type { Nfs4Client } from './state/client.ts'
import type { LockState } from './state/open-state.ts'
import { OPAQUE_LIMIT, SHARE_READ, SHARE_WRITE } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** `nfs_lock_type4`: the even ones are exclusive; 3 and 4 are those of a client that waits, which asks again by itself. */
const READ_LT = 1
const WRITE_LT = 2
const WRITEW_LT = 4

/** LOCK: locks a range of bytes. RFC 8881 section 18.10. */
export const lock: Operation = {
  name: 'LOCK',
  run(call) {
    const { args, context } = call
    const exclusive = readType(call)
    const reclaim = args.bool()
    const range = readRange(call)
    const state = args.bool() ? newOwner(call) : knownOwner(call)
    if (state === undefined) return
    checkGrace(call, state.client, reclaim)
    if (!(state.access & (exclusive ? SHARE_WRITE : SHARE_READ))) return refuse(call, state, STATUS.OPENMODE)
    const wanted: Lock = { ...range, owner: state.owner, exclusive }
    const result = context.locks.lock(state.file, wanted)
    if (result.kind === 'denied') return refuse(call, state, STATUS.DENIED, result.conflict)
    if (result.kind === 'full') return refuse(call, state, STATUS.DELAY)
    answer(call, state)
  },
}

/** LOCKT: whether a range could be locked. RFC 8881 section 18.11. */
export const lockt: Operation = {
  name: 'LOCKT',
  run(call) {
    const { args, context } = call
    const exclusive = readType(call)
    const range = readRange(call)
    const client = clientNamed(call, args.u32(), args.u32())
    const owner = ownerOf(client, args.string(OPAQUE_LIMIT))
    const { served, inode } = call.object(call.current, STATUS.ISDIR)
    mustBeRegular(call, inode)
    if (context.grace.active) throw new Nfs4Error(STATUS.GRACE)
    const conflict = context.locks.test(lockKeyOf(served, inode), { ...range, owner, exclusive })
    if (conflict !== undefined) throw new Nfs4Error(STATUS.DENIED, (out) => encodeDenied(out, conflict))
  },
}

/** LOCKU: unlocks a range. RFC 8881 section 18.12. */
export const locku: Operation = {
  name: 'LOCKU',
  run(call) {
    const { args, context } = call
    readType(call)
    const seqid = args.u32()
    call.stateid.read(args)
    const range = readRange(call)
    call.object(call.current, STATUS.ISDIR)
    if (isStateAgain(call, seqid)) return
    const state = currentLock(call)
    context.locks.unlock(state.file, state.owner, range)
    answer(call, state)
  },
}

/** RELEASE_LOCKOWNER: an owner in 4.0 has no locks any more. RFC 7530 section 16.37. */
export const releaseLockOwner: Operation = {
  name: 'RELEASE_LOCKOWNER',
  until: 0,
  run(call) {
    const { args, context } = call
    const client = clientNamed(call, args.u32(), args.u32())
    const owner = ownerOf(client, args.string(OPAQUE_LIMIT))
    if (!context.states.releaseLockOwner(client, owner)) throw new Nfs4Error(STATUS.LOCKS_HELD)
  },
}

/** Whether a lock is exclusive. @throws Nfs4Error INVAL */
function readType({ args }: Nfs4Call): boolean {
  const type = args.u32()
  if (type < READ_LT || type > WRITEW_LT) throw new Nfs4Error(STATUS.INVAL)
  return type % 2 === 0
}

/** @throws Nfs4Error INVAL no bytes, or beyond the last one */
function readRange({ args }: Nfs4Call) {
  const offset = args.u64()
  const length = args.u64()
  const toTheEnd = length === 0xffff_ffff_ffff_ffffn
  const range = length === 0n ? undefined : byteRange(offset, toTheEnd ? 0n : length)
  if (range === undefined) throw new Nfs4Error(STATUS.INVAL)
  return range
}

function checkGrace({ context }: Nfs4Call, client: Nfs4Client, reclaim: boolean): void {
  if (!reclaim && context.grace.active) throw new Nfs4Error(STATUS.GRACE)
  if (reclaim && !context.reclaims.may(client)) throw new Nfs4Error(STATUS.NO_GRACE)
}

/** The first lock of an owner in an open file. */
function newOwner(call: Nfs4Call): LockState | undefined {
  const { args, context } = call
  const openSeqid = args.u32()
  call.stateid.read(args)
  const lockSeqid = args.u32()
  const client = clientNamed(call, args.u32(), args.u32())
  const owner = ownerOf(client, args.string(OPAQUE_LIMIT))
  call.object(call.current, STATUS.ISDIR)
  if (isStateAgain(call, openSeqid)) return undefined
  const open = currentOpen(call)
  if (open.client !== client) throw new Nfs4Error(STATUS.BAD_STATEID)
  call.needRoom(open.client)
  const state = context.states.lockState(open, owner)
  state.sequence.last = lockSeqid
  state.sequence.reply = undefined
  return state
}

function knownOwner(call: Nfs4Call): LockState | undefined {
  call.stateid.read(call.args)
  const seqid = call.args.u32()
  call.object(call.current, STATUS.ISDIR)
  if (isStateAgain(call, seqid)) return undefined
  return currentLock(call)
}

/** An owner in the table of locks: the client in decimal digits, a space, and its name. */
function ownerOf(client: Nfs4Client, name: string): LockOwner {
  return { key: `${client.key} ${name}`, client: client.key }
}

/** A new owner without a lock does not stay. */
function refuse({ context }: Nfs4Call, state: LockState, status: number, conflict?: Lock): never {
  if (state.seqid === 0) context.states.free(state)
  throw new Nfs4Error(status, conflict && ((out) => encodeDenied(out, conflict)))
}

function answer({ out, currentStateid }: Nfs4Call, state: LockState): void {
  state.changed()
  state.name(currentStateid)
  currentStateid.write(out)
}

/** Writes a `LOCK4denied`. Owners of the lock manager have no client id. */
function encodeDenied(out: Encoder, { owner, exclusive, ...range }: Lock): void {
  const length = lengthOf(range)
  out.u64(Number(range.start >> 32n), Number(range.start & 0xffff_ffffn))
  const told = length === 0n ? 0xffff_ffff_ffff_ffffn : length
  out.u64(Number(told >> 32n), Number(told & 0xffff_ffffn))
  out.u32(exclusive ? WRITE_LT : READ_LT)
  const parts = / v4 (\d+)\.(\d+) ([\s\S]*)$/.exec(owner.key)
  out.u64(Number(parts?.[1] ?? 0), Number(parts?.[2] ?? 0))
  out.string((parts?.[3] ?? owner.key).slice(0, MOST_OWNER_BYTES))
}

/** So that the reply has room for it. */
const MOST_OWNER_BYTES = 900
