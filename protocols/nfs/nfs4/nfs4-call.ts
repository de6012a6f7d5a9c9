import {
  after,
  type ChangeInfo,
  FileType,
  type Inode,
  isErrno,
  type MaybePromise,
  type Overlay,
} from '../../../overlay-core/index.ts'
import { MemberView } from '../exports/export-table.ts'
import { lockKeyOf, WireHandle } from '../exports/file-handle.ts'
import type { Grant, NfsMember, ServedView } from '../exports/served-view.ts'
import { CallState, type RpcCall } from '../rpc/call.ts'
import type { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { changeOf, FileRef } from './file-ref.ts'
import type { Nfs4Context } from './nfs4-context.ts'
import { ROOT_OBJECT, ROOT_VIEW } from './pseudo-root.ts'
import type { Nfs4Client } from './state/client.ts'
import type { OwnerSequence } from './state/owner-sequence.ts'
import type { Session, Slot } from './state/session.ts'
import { Bitmap } from './wire/bitmap.ts'
import { MAX_REPLY_BYTES, NAME_MAX } from './wire/constants.ts'
import { Stateid } from './wire/stateid.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const MAX_WIRE_NAME = 64 * 1024
/** The largest reply while memory for large replies is short: it fits into a small block. */
const CROWDED_REPLY_BYTES = 96 * 1024

/** An object of a view with the rights of the caller there. */
export interface Target {
  readonly served: ServedView
  readonly inode: Inode
  readonly grant: Grant
}

/** One COMPOUND: its current and saved filehandle, its session, and where in the reply it stands. */
export class Nfs4Call extends CallState {
  readonly context: Nfs4Context
  readonly args: Decoder
  out!: Encoder
  minor = 0
  /** The operations, and the number of those that were begun. */
  count = 0
  index = 0
  status: number = STATUS.OK
  readonly current = new FileRef()
  readonly saved = new FileRef()
  readonly currentStateid = new Stateid()
  readonly savedStateid = new Stateid()
  /** For the arguments of one operation. */
  readonly stateid = new Stateid()
  readonly asked = new Bitmap()
  readonly handle = new WireHandle()
  session: Session | undefined
  slot: Slot | undefined
  /** The client of the session. */
  client: Nfs4Client | undefined
  cacheThis = false
  /** The most bytes that the reply may have, with its RPC header. */
  mostReplyBytes = MAX_REPLY_BYTES
  /** Where the reply, the number of its results, and the status of the current operation are in `out`. */
  startAt = 0
  countAt = 0
  statusAt = 0
  /** The order of requests of an owner in which this operation has its place, in 4.0. */
  sequence: OwnerSequence | undefined
  sequenceNumber = 0
  /** Where the arguments behind SEQUENCE begin. */
  argumentsAt = 0
  /** Set if the reply is that of an earlier transmission. */
  replayed: Uint8Array | undefined
  /** Overlays with new handles in the reply. */
  givesHandlesOf: Overlay | undefined
  /** Objects of `changedIn` that this operation has changed. */
  readonly changed: Inode[] = []
  changedIn: Overlay | undefined
  readonly #uses: NfsMember[] = []

  constructor(context: Nfs4Context, rpc: RpcCall) {
    super(rpc)
    this.context = context
    this.args = rpc.args
  }

  /** Resets the call for the next request of the same RPC call object. */
  reset(): void {
    this.index = 0
    this.status = STATUS.OK
    this.current.clear()
    this.saved.clear()
    this.currentStateid.clear()
    this.savedStateid.clear()
    this.session = undefined
    this.slot = undefined
    this.client = undefined
    this.cacheThis = false
    this.mostReplyBytes = MAX_REPLY_BYTES
    this.replayed = undefined
    this.sequence = undefined
    this.givesHandlesOf = undefined
    this.changed.length = 0
    this.changedIn = undefined
  }

  /** Makes room for `bytes` more of results. @throws Nfs4Error REP_TOO_BIG the session does not allow that many · DELAY memory for large replies is short */
  need(bytes: number): Encoder {
    if (this.rpc.crowded && this.out.pos - this.startAt + bytes > CROWDED_REPLY_BYTES) throw new Nfs4Error(STATUS.DELAY)
    if (this.out.pos - this.startAt + bytes > this.mostReplyBytes) throw this.tooBig()
    return this.makeRoom(bytes)
  }

  /** Like `need`, without regard to the limits of the session. */
  makeRoom(bytes: number): Encoder {
    const { out } = this
    if (out.room >= bytes) return out
    // The old encoder has another position afterwards.
    const { pos } = out
    const larger = this.rpc.enlarge(bytes)
    const moved = larger.pos - pos
    this.startAt += moved
    this.countAt += moved
    this.statusAt += moved
    this.out = larger
    return larger
  }

  tooBig(): Nfs4Error {
    if (this.minor === 0) return new Nfs4Error(STATUS.RESOURCE)
    return new Nfs4Error(this.cacheThis ? STATUS.REP_TOO_BIG_TO_CACHE : STATUS.REP_TOO_BIG)
  }

  /** The bytes that the reply may still get. */
  get replyRoom(): number {
    return this.mostReplyBytes - (this.out.pos - this.startAt)
  }

  /** Reads a `component4`. @throws Nfs4Error INVAL empty · NAMETOOLONG · BADNAME "." or ".." · BADCHAR a slash or NUL */
  readName(): string {
    const name = this.args.string(MAX_WIRE_NAME)
    if (name.length === 0) throw new Nfs4Error(STATUS.INVAL)
    if (name.length > NAME_MAX) throw new Nfs4Error(STATUS.NAMETOOLONG)
    if (name === '.' || name === '..') throw new Nfs4Error(STATUS.BADNAME)
    if (/[/\0]/.test(name)) throw new Nfs4Error(STATUS.BADCHAR)
    return name
  }

  /** The object of a filehandle. @throws Nfs4Error NOFILEHANDLE · `ofRoot` the pseudo-root · ACCESS another user's view */
  object(ref: FileRef = this.current, ofRoot: number = STATUS.ROFS): Target {
    if (ref.kind === 'none') throw new Nfs4Error(STATUS.NOFILEHANDLE)
    if (ref.kind === 'root') throw new Nfs4Error(ofRoot)
    if (ref.mountOnly) throw new Nfs4Error(STATUS.ACCESS)
    return ref as FileRef & Target
  }

  /** A directory in which names are changed. @throws Nfs4Error as `object` · ROFS · NOTDIR */
  directory(ref: FileRef = this.current): Target {
    const target = this.object(ref)
    if (target.inode.type !== FileType.directory) {
      throw new Nfs4Error(target.inode.type === FileType.symlink ? STATUS.SYMLINK : STATUS.NOTDIR)
    }
    return this.writable(target)
  }

  /** The directory of a name to open. @throws Nfs4Error as `object` · NOTDIR */
  directoryToOpen(): Target {
    const target = this.object(this.current, STATUS.ISDIR)
    if (target.inode.type === FileType.symlink) throw new Nfs4Error(STATUS.SYMLINK)
    if (target.inode.type !== FileType.directory) throw new Nfs4Error(STATUS.NOTDIR)
    // A copy, because the current filehandle becomes that of the file.
    return { served: target.served, inode: target.inode, grant: target.grant }
  }

  /** @throws Nfs4Error ROFS the export is read-only for this client */
  writable(target: Target): Target {
    if (target.grant.readOnly) throw new Nfs4Error(STATUS.ROFS)
    return target
  }

  /** The regular file of a filehandle. @throws Nfs4Error ISDIR · SYMLINK · WRONG_TYPE */
  file(ref: FileRef = this.current): Target {
    const target = this.object(ref, STATUS.ISDIR)
    switch (target.inode.type) {
      case FileType.regular:
        return target
      case FileType.directory:
        throw new Nfs4Error(STATUS.ISDIR)
      case FileType.symlink:
        throw new Nfs4Error(this.minor === 0 ? STATUS.INVAL : STATUS.SYMLINK)
      default:
        throw new Nfs4Error(this.minor === 0 ? STATUS.INVAL : STATUS.WRONG_TYPE)
    }
  }

  /** @throws Nfs4Error DELAY the client has too much, or all together have and nobody is gone */
  needRoom(client: Nfs4Client): void {
    const { states, leases } = this.context
    if (states.hasRoom(client) || (leases.makeRoom() && states.hasRoom(client))) return
    throw new Nfs4Error(STATUS.DELAY)
  }

  /** On a `sync` export these changed objects are durable before the next operation (exports(5)). */
  keep({ served, grant }: Target, ...changed: readonly Inode[]): void {
    if (!grant.sync) return
    this.changedIn = served.overlay
    this.changed.push(...changed)
  }

  /** Resolves `handle`, which was just read, into the current filehandle. */
  putHandle(): MaybePromise<void> {
    const { handle, context } = this
    if (!handle.wellFormed) throw new Nfs4Error(STATUS.BADHANDLE)
    this.currentStateid.clear()
    if (handle.view === ROOT_VIEW.view && handle.viewHi === ROOT_VIEW.viewHi) return this.#putRoot()
    const served = context.exports.byHandle(handle)
    if (served === undefined) throw this.#lost()
    if (!(served instanceof MemberView)) return this.#find(served)
    // A forged handle opens nothing.
    if (!context.handles.authentic(handle)) throw new Nfs4Error(STATUS.BADHANDLE)
    return after(this.use(served), () => this.#find(served))
  }

  /** Uses a view of a template until the end of the call. @throws OverlayError it cannot be opened */
  use(view: MemberView): MaybePromise<void> {
    return after(view.use(), () => void this.#uses.push(view.member))
  }

  /** Ends the use of views. Call it when the reply is complete. */
  release(): void {
    for (let member = this.#uses.pop(); member !== undefined; member = this.#uses.pop()) member.release()
  }

  /** Makes an object of a view the current one, as far as the caller may use it. @throws Nfs4Error ACCESS */
  enter(served: ServedView, inode: Inode): void {
    const { peer, credential } = this.rpc
    const grant = served.grant(peer, credential)
    if (grant === undefined) throw new Nfs4Error(STATUS.ACCESS)
    const { member } = served
    let mountOnly = false
    if (member !== undefined && !member.admits(grant.cred, peer)) {
      // Mounting a view does not need its user, because clients mount as root, which is often mapped to nobody.
      mountOnly = inode === served.overlay.root && peer.identity?.kind !== 'user'
      if (!mountOnly) throw new Nfs4Error(STATUS.ACCESS)
    }
    peer.uses.note(served, grant.cred.uid)
    this.current.setObject(served, inode, grant, mountOnly)
  }

  /** Notes that the reply has the handle of an object. */
  gives(overlay: Overlay, inode: Inode): void {
    if (overlay.retain(inode)) this.givesHandlesOf = overlay
  }

  /** Writes a `change_info4`. */
  encodeChange({ before, after: now }: ChangeInfo): void {
    const { out } = this
    out.bool(before !== undefined && now !== undefined)
    const from = before ?? now
    const first = from === undefined ? { hi: 0, lo: 0 } : changeOf(from)
    const second = now === undefined ? first : changeOf(now)
    out.u64(first.hi, first.lo)
    out.u64(second.hi, second.lo)
  }

  #putRoot(): void {
    const { handle, context } = this
    const known = handle.key === ROOT_OBJECT.key && handle.generation === ROOT_OBJECT.generation
    if (!known || !context.handles.authentic(handle)) throw new Nfs4Error(STATUS.BADHANDLE)
    this.current.setRoot()
  }

  #find(served: ServedView): MaybePromise<void> {
    const { handle } = this
    let found: MaybePromise<Inode>
    try {
      found = served.overlay.inodeByKey(handle.key, handle.generation)
    } catch (error) {
      return this.#findOpen(served, error)
    }
    if (!(found instanceof Promise)) return this.#found(served, found)
    return found.then(
      (inode) => this.#found(served, inode),
      (error) => this.#findOpen(served, error),
    )
  }

  /** A file without a name lives as long as it is open. */
  #findOpen(served: ServedView, error: unknown): void {
    if (!isErrno(error, 'ESTALE')) throw error
    const inode = this.context.states.openFile(lockKeyOf(served, this.handle))
    if (inode === undefined) throw this.#lost()
    this.#found(served, inode)
  }

  #found(served: ServedView, inode: Inode): void {
    if (!this.context.handles.authentic(this.handle)) throw new Nfs4Error(STATUS.BADHANDLE)
    this.enter(served, inode)
  }

  #lost(): Nfs4Error {
    return new Nfs4Error(this.context.handles.authentic(this.handle) ? STATUS.STALE : STATUS.BADHANDLE)
  }
}
