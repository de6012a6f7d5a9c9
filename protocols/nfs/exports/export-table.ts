import { createHash } from 'node:crypto'
import type { Cred, MaybePromise, Overlay } from '../../../overlay-core/index.ts'
import type { Peer } from '../rpc/call.ts'
import { AUTH_NONE, AUTH_SYS, LOOPBACK, PRIVILEGED_PORTS } from '../rpc/constants.ts'
import { Credential, DerivedRights } from '../rpc/credential.ts'
import type { TransportSecurity } from '../rpc/start-tls.ts'
import { type AddressesOf, ClientMatcher } from './client-matcher.ts'
import type { ExportRule } from './export-rules.ts'
import type { WireHandle } from './file-handle.ts'
import type { Grant, NfsMember, NfsMembers, ServedView } from './served-view.ts'

/** One overlay offered to clients. */
export interface NfsExportSettings {
  /** `overlay` is exported as `/overlay`. */
  name: string
  overlay: Overlay
  rules: readonly ExportRule[]
  /** The views of a template, which are below its path. `overlay` is then what all of them start from, read-only. */
  members?: NfsMembers | undefined
}

/** uid or gid -1 on the wire: no user at all. */
const NO_ID = 0xffff_ffff

/** What all exports of a server have in common. */
export interface SecurityPolicy {
  /** Whether clients can encrypt their connections. */
  readonly encrypts: boolean
  /** Called when a client is refused because its connection is not protected as the export wants. */
  tooWeak(name: string, peer: Peer): void
}

const ENCRYPTED: readonly TransportSecurity[] = ['tls', 'mtls']
const OPEN: SecurityPolicy = { encrypts: false, tooWeak: () => undefined }

/** An export as it is being served. */
export class NfsExport implements ServedView {
  readonly name: string
  /** The path for MNT, as bytes, one per code unit. */
  readonly path: string
  readonly label: string
  readonly overlay: Overlay
  readonly rules: readonly ExportRule[]
  readonly members: NfsMembers | undefined
  readonly member = undefined
  readonly viewHi = 0
  /** The number of the view in file handles, derived from name and overlay, so that it survives a restart. */
  readonly view: number
  /** `fsid` of all attributes, high and low 32 bits, derived from the overlay's UUID. */
  readonly fsidHi: number
  readonly fsidLo: number
  /** Position among the exports of the server. */
  readonly index: number
  readonly #matcher: ClientMatcher
  readonly #security: SecurityPolicy

  constructor(options: NfsExportSettings, index: number, addressesOf?: AddressesOf, security: SecurityPolicy = OPEN) {
    this.#security = security
    this.name = options.name
    this.path = `/${Buffer.from(options.name).toString('latin1')}`
    this.label = this.path.slice(1)
    this.overlay = options.overlay
    this.rules = options.rules
    this.members = options.members
    this.index = index
    this.#matcher = new ClientMatcher(options.rules, addressesOf)
    const uuid = Buffer.from(options.overlay.uuid)
    this.fsidHi = uuid.readUInt32BE(0)
    this.fsidLo = uuid.readUInt32BE(4)
    this.view = createHash('sha256').update(uuid).update(options.name).digest().readUInt32BE(0)
  }

  /** The rule for a client; undefined if it has no access: no rule matches its address, its port is not privileged, or its connection is not protected enough. */
  ruleFor(peer: Peer): ExportRule | undefined {
    const rule = this.ruleForMount(peer)
    if (rule === undefined || this.#isProtected(peer, rule)) return rule
    this.#security.tooWeak(this.name, peer)
    return undefined
  }

  /**
   * Like `ruleFor`, without regard to protection: as knfsd, because Linux sends MOUNT in clear text whatever `xprtsec` a mount has. A client with a certificate
   * may use every port, since it does not say itself who it is.
   */
  ruleForMount(peer: Peer): ExportRule | undefined {
    const rule = this.#matcher.find(peer.address)
    return rule?.secure && peer.port >= PRIVILEGED_PORTS && peer.security !== 'mtls' ? undefined : rule
  }

  /** The rule for calls of the lock manager: with `insecure_locks` also for a connection that is not protected enough. */
  ruleForLocks(peer: Peer): ExportRule | undefined {
    const rule = this.ruleForMount(peer)
    return rule?.insecureLocks ? rule : this.ruleFor(peer)
  }

  /** Whether a client can come back with a certificate. */
  takesCertificates(rule: ExportRule): boolean {
    return this.#security.encrypts && (rule.xprtsec ?? ENCRYPTED).includes('mtls')
  }

  /** Beyond this machine clear text must be asked for if there is anything better. */
  #isProtected({ security, address }: Peer, { xprtsec }: ExportRule): boolean {
    const { encrypts } = this.#security
    const wanted = xprtsec ?? (encrypts && !LOOPBACK.test(address) ? ENCRYPTED : undefined)
    if (wanted === undefined || wanted.includes(security)) return true
    return security === 'mtls' && wanted.includes('tls')
  }

  /** Whether a rule matches an address, regardless of the port. */
  isFor(address: string): boolean {
    return this.#matcher.find(address) !== undefined
  }

  /** The rights of the caller here; undefined for none. They are cached in the credential, which belongs to one connection. */
  grant(peer: Peer, credential: Credential): Grant | undefined {
    const { derived } = credential
    const known = derived instanceof GrantList ? derived.byExport[this.index] : undefined
    if (known !== undefined) return known ?? undefined
    const grant = grantBy(this.ruleFor(peer), peer, credential)
    grantsOf(credential)[this.index] = grant ?? null
    return grant
  }

  lockGrant(peer: Peer, credential: Credential): Grant | undefined {
    const rule = this.ruleForMount(peer)
    return rule?.insecureLocks ? grantBy(rule, peer, credential) : this.grant(peer, credential)
  }
}

/** The rights of a caller under a rule; undefined without one. */
function grantBy(rule: ExportRule | undefined, peer: Peer, credential: Credential): Grant | undefined {
  if (rule === undefined) return undefined
  const asOwner = rule.squash === 'owner'
  const { identity } = peer
  // Whom the client claims to act for does not count if its certificate says who it is.
  const caller = identity?.kind === 'user' ? certified(identity.ids) : credential
  return { cred: squash(caller, rule), readOnly: rule.readOnly, sync: rule.sync, asOwner }
}

/** A view of a template as it is being served. Its fsid is its number. */
export class MemberView implements ServedView {
  readonly member: NfsMember
  readonly template: NfsExport
  readonly members: NfsMembers | undefined
  readonly viewHi: number
  readonly view: number
  readonly fsidHi: number
  readonly fsidLo: number
  #overlay: Overlay | undefined
  /** The latest grant of the template, and what it is here. */
  #grant: { readonly given: Grant; readonly asOwner: boolean; readonly here: Grant } | undefined

  constructor(member: NfsMember, template: NfsExport) {
    this.member = member
    this.members = member.members
    this.template = template
    this.viewHi = member.viewHi
    this.view = member.view
    this.fsidHi = member.viewHi
    this.fsidLo = member.view
  }

  get overlay(): Overlay {
    return this.#overlay!
  }

  get label(): string {
    return `${this.template.label}/${this.member.name}`
  }

  /** Counts a use of the view and opens it. @throws OverlayError */
  use(): MaybePromise<void> {
    const opened = this.member.use()
    if (opened instanceof Promise)
      return opened.then((overlay) => {
        this.#overlay = overlay
      })
    this.#overlay = opened
  }

  /** The rights that the rules of the template give; whether the view is the caller's is up to `member.admits`. */
  grant(peer: Peer, credential: Credential): Grant | undefined {
    return this.#inView(this.template.grant(peer, credential), peer)
  }

  lockGrant(peer: Peer, credential: Credential): Grant | undefined {
    return this.#inView(this.template.lockGrant(peer, credential), peer)
  }

  #inView(given: Grant | undefined, peer: Peer): Grant | undefined {
    const asOwner = given?.asOwner === true || this.member.isOf(peer)
    const readOnly = this.member.readOnly === true
    if (given === undefined || (!asOwner && !readOnly)) return given
    if (this.#grant?.given !== given || this.#grant.asOwner !== asOwner) {
      const { uid, gid } = this.member.owner
      const groups = given.cred.uid === uid ? given.cred.groups : []
      const here = { ...given, ...(asOwner && { cred: { uid, gid, groups } }), readOnly: readOnly || given.readOnly }
      this.#grant = { given, asOwner, here }
    }
    return this.#grant.here
  }
}

/** The grants of a credential by export; null if it was looked up and has none. */
class GrantList extends DerivedRights {
  readonly byExport: (Grant | null | undefined)[] = []
}

function grantsOf(credential: Credential): (Grant | null | undefined)[] {
  const { derived } = credential
  if (derived instanceof GrantList) return derived.byExport
  const list = new GrantList()
  credential.derived = list
  return list.byExport
}

/** The caller of a credential under a rule, with squashing as in exports(5). */
export function squash(credential: Credential, rule: ExportRule): Cred {
  const { anonUid, anonGid } = rule
  if (rule.squash === 'all' || rule.squash === 'owner' || credential.flavor === AUTH_NONE || credential.uid === NO_ID) {
    return { uid: anonUid, gid: anonGid, groups: [] }
  }
  const mapGid = (gid: number) => ((rule.squash === 'root' && gid === 0) || gid === NO_ID ? anonGid : gid)
  return {
    uid: rule.squash === 'root' && credential.uid === 0 ? anonUid : credential.uid,
    gid: mapGid(credential.gid),
    groups: credential.groups.map(mapGid),
  }
}

/** What the owner of a certificate may do. One without ids is nobody. */
function certified(ids: { uid: number; gid: number; groups: readonly number[] } | undefined): Credential {
  return ids === undefined
    ? new Credential(AUTH_NONE, NO_ID, NO_ID, [])
    : new Credential(AUTH_SYS, ids.uid, ids.gid, ids.groups)
}

/** All exports of a server. They can change while it runs. */
export class ExportTable {
  readonly #byName = new Map<string, NfsExport>()
  readonly #byView = new Map<number, NfsExport>()
  /** The views in use, so that each has one object. */
  readonly #memberViews = new WeakMap<NfsMember, MemberView>()
  readonly #addressesOf: AddressesOf | undefined
  readonly #security: SecurityPolicy
  /** The number of exports so far. An index is never used again, because grants are cached by it. */
  #count = 0
  #list: readonly NfsExport[] = []
  /** Counts changes of the list. */
  changes = 0
  /** Whether one of them is a template; never false again, because calls may still use a view. */
  hasMembers = false

  /** @throws Error a name is empty, has a slash or is used twice, or an overlay is exported twice */
  constructor(exports: readonly NfsExportSettings[], addressesOf?: AddressesOf, security: SecurityPolicy = OPEN) {
    this.#addressesOf = addressesOf
    this.#security = security
    for (const options of exports) this.add(options)
  }

  get exports(): readonly NfsExport[] {
    return this.#list
  }

  /** Whether anything is exported to this address. */
  isFor(address: string): boolean {
    return this.#list.some((served) => served.isFor(address))
  }

  /** @throws Error as the constructor */
  add(options: NfsExportSettings): void {
    const { name, overlay } = options
    if (!/^[^/\0]+$/.test(name)) throw new Error(`export name '${name}' is not a single path component`)
    if (this.#byName.has(name)) throw new Error(`two exports are named '${name}'`)
    // Each inode has a single file handle.
    if (this.#list.some((other) => other.overlay === overlay))
      throw new Error(`export '${name}': the overlay is already exported under another name`)
    const served = new NfsExport(options, this.#count, this.#addressesOf, this.#security)
    // The pseudo-root of version 4 has number 0.
    if (this.#byView.has(served.view) || served.view === 0)
      throw new Error(`export '${name}': file handles would be ambiguous; choose another name`)
    this.#count++
    this.hasMembers ||= options.members !== undefined
    this.#byName.set(name, served)
    this.#byView.set(served.view, served)
    this.#list = [...this.#byName.values()]
    this.changes++
  }

  /** Adds an export in place of one with the same name. @throws Error as `add`; then there is no export of this name */
  replace(options: NfsExportSettings): void {
    this.remove(options.name)
    this.add(options)
  }

  /** Ends an export: its handles become stale. */
  remove(name: string): void {
    const served = this.#byName.get(name)
    if (served === undefined) return
    this.#byName.delete(name)
    this.#byView.delete(served.view)
    this.#list = [...this.#byName.values()]
    this.changes++
  }

  /** The view of a file handle, which may be closed. */
  byHandle({ viewHi, view }: WireHandle): NfsExport | MemberView | undefined {
    return this.byNumber(viewHi, view)
  }

  /** The view with this number, which may be closed. */
  byNumber(viewHi: number, view: number): NfsExport | MemberView | undefined {
    if (viewHi === 0) return this.#byView.get(view)
    for (const served of this.#list) {
      const member = served.members?.byNumber(viewHi, view)
      if (member !== undefined) return this.memberView(member, served)
    }
    return undefined
  }

  /** The object for a view of the template `served`. */
  memberView(member: NfsMember, served: NfsExport): MemberView {
    const known = this.#memberViews.get(member)
    if (known?.template === served) return known
    const fresh = new MemberView(member, served)
    this.#memberViews.set(member, fresh)
    return fresh
  }

  /** The export whose path is a prefix of `path`, and the remaining components; undefined if there is none. */
  byPath(path: string): { served: NfsExport; rest: string[] } | undefined {
    const components = path.split('/').filter((component) => component !== '' && component !== '.')
    if (!path.startsWith('/')) return undefined
    const served = this.#list.find((candidate) => candidate.path === `/${components[0]}`)
    return served === undefined ? undefined : { served, rest: components.slice(1) }
  }
}
