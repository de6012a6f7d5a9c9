import type { Cred, MaybePromise, Overlay } from '../../../overlay-core/index.ts'
import type { Peer } from '../rpc/call.ts'
import type { Credential } from '../rpc/credential.ts'
import type { ClientIdentity } from '../rpc/start-tls.ts'
import type { ViewNumber } from './file-handle.ts'

/** Where a call comes from, and whose certificate it came with. */
export interface NfsCaller {
  readonly address: string
  readonly identity: ClientIdentity | undefined
}

/** The rights of one caller in one view. */
export interface Grant {
  readonly cred: Cred
  readonly readOnly: boolean
  /** Whether data is on disk before the reply. */
  readonly sync: boolean
  /** Whether the caller acts as the owner in each view of a template. */
  readonly asOwner: boolean
}

/** A view of a template: known without being open. The server implements it. */
export interface NfsMember extends ViewNumber {
  /** Its name below the template, as bytes. */
  readonly name: string
  /** Its position in listings: a safe integer above 0 that no other view of the template has, and that stays the same. */
  readonly order: number
  /** Whose the view is. */
  readonly owner: Pick<Cred, 'uid' | 'gid'>
  /** Whether nobody may change it. */
  readonly readOnly?: boolean
  /** Set if it only leads to further views: those in it. */
  readonly members?: NfsMembers | undefined
  /** The view to which a name (bytes) of its root leads that listings do not show; undefined if there is none. The view itself comes first if it has that name. */
  hidden?(name: string): NfsMember | undefined
  /** Whether a caller may use it. */
  admits(cred: Cred, caller: NfsCaller): boolean
  /** Whether a caller has the certificate of its owner. */
  isOf(caller: NfsCaller): boolean
  /** Counts a use, and opens the view if it is closed. Each successful call needs one of `release`. @throws OverlayError ESTALE removed · EIO it cannot be opened */
  use(): MaybePromise<Overlay>
  release(): void
}

/** The views of a template. The server implements it. */
export interface NfsMembers {
  /**
   * The view with this name (bytes), or the one that the name means for a caller; undefined if there is none. With `create`, a missing one is made if
   * the template allows it. @throws OverlayError EACCES not for this client · ENOSPC | EIO
   */
  find(name: string, caller: NfsCaller, create: boolean): MaybePromise<NfsMember | undefined>
  /** The view of the owner of the caller's certificate, made if the template allows it; undefined if there is none. @throws OverlayError as `find` */
  own(caller: NfsCaller): MaybePromise<NfsMember | undefined>
  /** The view with this number. */
  byNumber(viewHi: number, view: number): NfsMember | undefined
  /** The views that a caller may use and whose `order` is higher than `after`, by `order`. Without `cred` the caller acts as the owner of each. */
  list(cred: Cred | undefined, caller: NfsCaller, after: number): Iterable<NfsMember>
}

/** A view as calls use it: an export, or a view of a template. */
export interface ServedView extends ViewNumber {
  /** The open overlay. For a view of a template it is valid between `member.use` and `member.release`. */
  readonly overlay: Overlay
  /** `fsid` of all attributes, high and low 32 bits. */
  readonly fsidHi: number
  readonly fsidLo: number
  /** The name of the export; of a view of a template `TEMPLATE/NAME`, as bytes. */
  readonly label: string
  /** Set if this is a view of a template. */
  readonly member: NfsMember | undefined
  /** Set if this is the root of a template: the views in it. */
  readonly members: NfsMembers | undefined
  /** The rights of a caller; undefined if it may not use the export. */
  grant(peer: Peer, credential: Credential): Grant | undefined
  /** The rights of a caller of the lock manager, which Linux calls in clear text whatever `xprtsec` a mount has. */
  lockGrant(peer: Peer, credential: Credential): Grant | undefined
}
