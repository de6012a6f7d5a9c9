import type { Cred, MaybePromise, Overlay } from '../../overlay-core/index.ts'
import type { NfsCaller, NfsMember, NfsMembers } from '../../protocols/nfs/index.ts'
import type { Snapshot } from './layer-record.ts'
import { machineAt } from './machine-names.ts'
import { ordered, orderOf } from './snapshot-listing.ts'
import { listingId, SNAPSHOT_DIRECTORY, type SnapshotViews, snapshotNamed, snapshotsOf } from './snapshot-views.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'

/** The name by which a machine mounts its own view. */
const SELF = 'self'

/** The views of a template as NFS reaches them. */
export class TemplateMembers implements NfsMembers {
  readonly #template: Template
  readonly #members = new WeakMap<TemplateView, TemplateMember>()
  /** Members by the low half of their numbers, for handles. */
  readonly #byLow = new Map<number, TemplateMember>()

  constructor(template: Template) {
    this.#template = template
  }

  find(name: string, caller: NfsCaller, create: boolean): MaybePromise<NfsMember | undefined> {
    const template = this.#template
    const asked = Buffer.from(name, 'latin1').toString('utf8')
    const own = this.#ownName(caller)
    const text = asked === SELF && own !== undefined ? own : asked
    // Nobody makes the view of another machine, and who has a certificate only that of its owner.
    const may = own === undefined || text === own
    const ready = create && may && text !== '' ? template.machines?.mounting(template.name, caller.address) : undefined
    if (ready !== undefined) return ready.then(() => this.#of(template.byName(text)))
    const view = create && may ? template.reach(text, caller.address) : template.byName(text)
    return view instanceof Promise ? view.then((made) => this.#of(made)) : this.#of(view)
  }

  own(caller: NfsCaller): MaybePromise<NfsMember | undefined> {
    const own = this.#ownName(caller)
    return own === undefined ? undefined : this.find(own, caller, true)
  }

  #ownName(caller: NfsCaller): string | undefined {
    return this.#template.settings.kind === 'per-machine' ? machineOf(this.#template, caller) : userOf(caller)
  }

  byNumber(viewHi: number, view: number): NfsMember | undefined {
    const known = this.#byLow.get(view)
    if (known?.viewHi === viewHi && this.#template.byId(known.of.record.id) === known.of) return known
    const id = hex(viewHi) + hex(view)
    const found = this.#of(this.#template.byId(id))
    if (found === undefined) this.#byLow.delete(view)
    else this.#byLow.set(view, found)
    return found ?? this.#ofSnapshot(id)
  }

  /** The snapshot, or directory of snapshots, with this number. */
  #ofSnapshot(id: string): NfsMember | undefined {
    const view = this.#template.snapshotViews?.viewWith(id)
    return view && this.#of(view).snapshots?.byId(id)
  }

  *list(cred: Cred | undefined, caller: NfsCaller, after: number): Iterable<NfsMember> {
    const template = this.#template
    const name = this.#ownName(caller)
    if (name !== undefined) {
      const own = template.byName(name)
      if (own !== undefined && own.record.order > after) yield this.#of(own)
      return
    }
    for (const view of template.listAfter(after, cred?.uid === 0 ? undefined : cred?.uid)) yield this.#of(view)
  }

  #of(view: TemplateView): TemplateMember
  #of(view: TemplateView | undefined): TemplateMember | undefined
  #of(view: TemplateView | undefined): TemplateMember | undefined {
    if (view === undefined) return undefined
    const known = this.#members.get(view)
    if (known !== undefined) return known
    const member = new TemplateMember(view, this.#template)
    this.#members.set(view, member)
    return member
  }
}

class TemplateMember implements NfsMember {
  readonly viewHi: number
  readonly view: number
  readonly order: number
  readonly of: TemplateView
  readonly #template: Template
  #snapshots: SnapshotsMember | undefined

  constructor(of: TemplateView, template: Template) {
    this.of = of
    this.#template = template
    const { viewHi, view } = numberOf(of.record.id)
    this.viewHi = viewHi
    this.view = view
    this.order = of.record.order
  }

  get name(): string {
    return bytesOf(this.of.record.name)
  }

  /** The directory of its snapshots; undefined if views of the template have none. */
  get snapshots(): SnapshotsMember | undefined {
    const { snapshotViews } = this.#template
    this.#snapshots ??= snapshotViews && new SnapshotsMember(this, snapshotViews)
    return this.#snapshots
  }

  hidden(name: string): NfsMember | undefined {
    return name === SNAPSHOT_DIRECTORY ? this.snapshots : undefined
  }

  get owner(): Pick<Cred, 'uid' | 'gid'> {
    return this.of.record
  }

  /** A user's view is for that user and for root, a machine's for that machine. A certificate says who it is, whatever the ids. */
  admits({ uid }: Cred, caller: NfsCaller): boolean {
    const { name, uid: owner } = this.of.record
    if (this.#template.settings.kind === 'per-machine') return name === machineOf(this.#template, caller)
    const user = userOf(caller)
    return user === undefined ? uid === owner || uid === 0 : user === name
  }

  isOf(caller: NfsCaller): boolean {
    return this.#template.settings.kind !== 'per-machine' && userOf(caller) === this.of.record.name
  }

  use(): MaybePromise<Overlay> {
    const opened = this.of.use()
    return opened instanceof Promise ? opened.then(() => this.of.guarded) : this.of.guarded
  }

  release(): void {
    this.of.release()
  }
}

/** What the snapshots of a view and their directory have in common: only who may use the view may use them, and nobody changes them. */
abstract class ReadOnlyMember implements NfsMember {
  readonly viewHi: number
  readonly view: number
  readonly readOnly = true
  abstract readonly name: string
  abstract readonly order: number
  readonly #of: TemplateMember

  constructor(of: TemplateMember, id: string) {
    const { viewHi, view } = numberOf(id)
    this.#of = of
    this.viewHi = viewHi
    this.view = view
  }

  get owner(): Pick<Cred, 'uid' | 'gid'> {
    return this.#of.owner
  }

  admits(cred: Cred, caller: NfsCaller): boolean {
    return this.#of.admits(cred, caller)
  }

  isOf(caller: NfsCaller): boolean {
    return this.#of.isOf(caller)
  }

  abstract use(): MaybePromise<Overlay>
  abstract release(): void
}

/** The directory of the snapshots of a view. */
class SnapshotsMember extends ReadOnlyMember implements NfsMembers {
  readonly name = SNAPSHOT_DIRECTORY
  readonly order = 1
  readonly members = this
  readonly #view: TemplateMember
  readonly #views: SnapshotViews
  readonly #known = new WeakMap<TemplateView, SnapshotMember>()

  constructor(view: TemplateMember, views: SnapshotViews) {
    super(view, listingId(view.of.record.id))
    this.#view = view
    this.#views = views
  }

  use(): Overlay {
    return this.#views.listing(this.#view.of)
  }

  release(): void {
    // Nothing is open.
  }

  /** This directory or the snapshot with this id. */
  byId(id: string): NfsMember | undefined {
    if (id === listingId(this.#view.of.record.id)) return this
    return this.#of(this.#view.of.record.snapshots?.find(({ top }) => top === id))
  }

  find(name: string): NfsMember | undefined {
    return this.#of(snapshotNamed(this.#view.of, Buffer.from(name, 'latin1').toString('utf8')))
  }

  own(): undefined {
    return undefined
  }

  byNumber(): undefined {
    return undefined
  }

  *list(_cred: Cred | undefined, _caller: NfsCaller, after: number): Iterable<NfsMember> {
    for (const { snapshot, order } of ordered(snapshotsOf(this.#view.of))) {
      const member = order > after ? this.byId(snapshot.id) : undefined
      if (member) yield member
    }
  }

  #of(snapshot: Snapshot | undefined): SnapshotMember | undefined {
    if (snapshot === undefined) return undefined
    const view = this.#views.of(this.#view.of, snapshot)
    const known = this.#known.get(view)
    if (known) return known
    const made = new SnapshotMember(this.#view, view, snapshot)
    this.#known.set(view, made)
    return made
  }
}

/** A snapshot of a view. */
class SnapshotMember extends ReadOnlyMember {
  readonly name: string
  readonly order: number
  readonly #snapshot: TemplateView

  constructor(view: TemplateMember, snapshot: TemplateView, { name, top, createdMs }: Snapshot) {
    super(view, top)
    this.#snapshot = snapshot
    this.name = bytesOf(name)
    this.order = orderOf({ name, id: top, createdMs })
  }

  use(): MaybePromise<Overlay> {
    return this.#snapshot.use()
  }

  release(): void {
    this.#snapshot.release()
  }
}

function numberOf(id: string): { viewHi: number; view: number } {
  return { viewHi: Number.parseInt(id.slice(0, 8), 16), view: Number.parseInt(id.slice(8), 16) }
}

function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** The name of a machine: that in its certificate, or the one that it has by its address. */
function machineOf(template: Template, { address, identity }: NfsCaller): string {
  return identity?.kind === 'machine' ? identity.name : machineAt(template, address)
}

/** The user in the certificate of a caller. */
function userOf({ identity }: NfsCaller): string | undefined {
  return identity?.kind === 'user' ? identity.name : undefined
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0')
}
