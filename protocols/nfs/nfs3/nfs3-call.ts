import {
  after,
  type ChangeInfo,
  type Cred,
  type Inode,
  isErrno,
  type MaybePromise,
  type Overlay,
  OverlayError,
} from '../../../overlay-core/index.ts'
import { MemberView, type NfsExport } from '../exports/export-table.ts'
import { isOwnView, WireHandle } from '../exports/file-handle.ts'
import type { Grant, NfsMember, ServedView } from '../exports/served-view.ts'
import { CallState, type RpcCall } from '../rpc/call.ts'
import { SUCCESS } from '../rpc/constants.ts'
import type { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { NAME_MAX } from './constants.ts'
import type { Nfs3Context } from './nfs3-context.ts'
import type { Nfs3Procedure } from './procedure.ts'
import {
  NFS3_OK,
  NFS3ERR_ACCES,
  NFS3ERR_BADHANDLE,
  NFS3ERR_NAMETOOLONG,
  NFS3ERR_ROFS,
  NFS3ERR_STALE,
  Nfs3Error,
} from './status.ts'

/** Names are read from the wire up to this length, so that a long name can be distinguished from garbage. */
const MAX_WIRE_NAME = 64 * 1024

/** The procedures that a client calls to mount an export. */
const MOUNTING: ReadonlySet<string> = new Set(['GETATTR', 'FSINFO', 'FSSTAT', 'PATHCONF'])

/** One call of an NFSv3 procedure: its objects and, as far as known, the data for a failure reply. */
export class Nfs3Call extends CallState {
  readonly context: Nfs3Context
  /** The file handle in the arguments, and the second one if there are two. */
  readonly handle = new WireHandle()
  readonly handle2 = new WireHandle()
  procedure: Nfs3Procedure
  /** The object of the first handle, once known; a failure reply contains its attributes as `post_op_attr`. */
  object: Inode | undefined
  /** The object of the second handle, once it is known. */
  object2: Inode | undefined
  /** Another changed object, which is known only by name. */
  object3: Inode | undefined
  /** The change info for `wcc_data` in the reply. */
  wcc: ChangeInfo | undefined
  wcc2: ChangeInfo | undefined
  /** Whether the reply contains a new file handle, and must wait until that would survive a crash. */
  givesHandle = false
  readonly args: Decoder
  /** The view that the handle belongs to; known after `resolve`. */
  served!: ServedView
  /** The rights of the caller; known after `resolve`. */
  grant!: Grant
  cred!: Cred
  #resolved = false
  /** The views of templates that this call uses, once for each use. */
  readonly #uses: NfsMember[] = []

  constructor(context: Nfs3Context, rpc: RpcCall, procedure: Nfs3Procedure) {
    super(rpc)
    this.context = context
    this.procedure = procedure
    this.args = rpc.args
  }

  /** Resets the call for the next request of the same RPC call object. */
  reset(procedure: Nfs3Procedure): void {
    this.procedure = procedure
    this.object = undefined
    this.object2 = undefined
    this.object3 = undefined
    this.wcc = undefined
    this.wcc2 = undefined
    this.givesHandle = false
    this.#resolved = false
    // The rights of the previous caller must not be left.
    this.served = undefined!
    this.grant = undefined!
    this.cred = undefined!
  }

  get overlay(): Overlay {
    return this.served.overlay
  }

  /** Reads a `filename3`. @throws Nfs3Error NFS3ERR_NAMETOOLONG · XdrError */
  readName(): string {
    const name = this.args.string(MAX_WIRE_NAME)
    if (name.length > NAME_MAX) throw new Nfs3Error(NFS3ERR_NAMETOOLONG)
    return name
  }

  /**
   * Resolves a handle to its object. Also determines the rights of the caller, and refuses a change if the export is
   * read-only for this client.
   *
   * @throws Nfs3Error NFS3ERR_BADHANDLE not a handle of this server · NFS3ERR_STALE the object is gone · NFS3ERR_ACCES no
   *   rule for this client, or another user's view · NFS3ERR_ROFS
   */
  resolve(handle: WireHandle): MaybePromise<Inode> {
    if (!handle.wellFormed) throw new Nfs3Error(NFS3ERR_BADHANDLE)
    const served = this.context.exports.byHandle(handle)
    // Only the MAC distinguishes a view that is no longer served from a forged one.
    if (served === undefined) throw this.#lost(handle)
    if (!(served instanceof MemberView)) {
      if (served.members !== undefined && isOwnView(handle)) return this.#findOwnView(handle, served)
      return this.#find(handle, served)
    }
    // A forged handle opens nothing.
    if (!this.context.handles.authentic(handle)) throw new Nfs3Error(NFS3ERR_BADHANDLE)
    return after(this.use(served), () => this.#find(handle, served))
  }

  /** Uses a view of a template until the end of the call. @throws OverlayError it cannot be opened */
  use(view: MemberView): MaybePromise<void> {
    return after(view.use(), () => void this.#uses.push(view.member))
  }

  /** Ends the use of views. Call it when the reply is complete. */
  release(): void {
    for (let member = this.#uses.pop(); member !== undefined; member = this.#uses.pop()) member.release()
  }

  /** The root of the view that belongs to the owner of the caller's certificate. */
  async #findOwnView(handle: WireHandle, served: NfsExport): Promise<Inode> {
    const { peer, credential } = this.rpc
    if (!this.context.handles.authentic(handle)) throw new Nfs3Error(NFS3ERR_BADHANDLE)
    if (served.grant(peer, credential) === undefined) throw new Nfs3Error(NFS3ERR_ACCES)
    const member = await served.members!.own(peer)
    if (member === undefined) throw new Nfs3Error(NFS3ERR_ACCES)
    const view = this.context.exports.memberView(member, served)
    await this.use(view)
    return this.#checked(view.overlay.root, handle, view)
  }

  #find(handle: WireHandle, served: ServedView): MaybePromise<Inode> {
    let inode: MaybePromise<Inode>
    try {
      inode = served.overlay.inodeByKey(handle.key, handle.generation)
    } catch (error) {
      throw isErrno(error, 'ESTALE') ? this.#lost(handle) : error
    }
    if (inode instanceof Promise) return this.#resolveLater(inode, handle, served)
    return this.#checked(inode, handle, served)
  }

  /** Starts a reply of NFS3_OK with at most `maxBytes` after the status. */
  ok(maxBytes: number): Encoder {
    return this.status(NFS3_OK, maxBytes)
  }

  /** Starts a reply with any status. */
  status(status: number, maxBytes: number): Encoder {
    const out = this.rpc.beginAccepted(SUCCESS, maxBytes + 4)
    out.u32(status)
    return out
  }

  async #resolveLater(found: Promise<Inode>, handle: WireHandle, served: ServedView): Promise<Inode> {
    let inode: Inode
    try {
      inode = await found
    } catch (error) {
      throw isErrno(error, 'ESTALE') ? this.#lost(handle) : error
    }
    return this.#checked(inode, handle, served)
  }

  #checked(inode: Inode, handle: WireHandle, served: ServedView): Inode {
    if (!this.context.handles.authentic(handle)) throw new Nfs3Error(NFS3ERR_BADHANDLE)
    const { peer, credential } = this.rpc
    const grant = served.grant(peer, credential)
    if (grant === undefined) throw new Nfs3Error(NFS3ERR_ACCES)
    const { member } = served
    if (member !== undefined && !this.#mayUse(inode, member, served.overlay, grant)) throw new Nfs3Error(NFS3ERR_ACCES)
    if (this.#resolved && this.served !== served) throw new OverlayError('EXDEV', 'resolve')
    if (grant.readOnly && this.procedure.mutates) throw new Nfs3Error(NFS3ERR_ROFS)
    this.#resolved = true
    this.served = served
    this.grant = grant
    this.cred = grant.cred
    peer.uses.note(served, grant.cred.uid)
    if (this.object === undefined) this.object = inode
    else this.object2 = inode
    return inode
  }

  /**
   * Whether the caller may use a view of a template. Mounting one does not need its user, because clients mount as root, which is often mapped to nobody: anybody may ask
   * for the attributes and limits of its root.
   */
  #mayUse(inode: Inode, member: NfsMember, overlay: Overlay, { cred }: Grant): boolean {
    const { peer } = this.rpc
    if (member.admits(cred, peer)) return true
    // A client with a certificate is its user whatever it claims.
    if (peer.identity?.kind === 'user') return false
    return inode === overlay.root && MOUNTING.has(this.procedure.name)
  }

  #lost(handle: WireHandle): Nfs3Error {
    return new Nfs3Error(this.context.handles.authentic(handle) ? NFS3ERR_STALE : NFS3ERR_BADHANDLE)
  }
}
