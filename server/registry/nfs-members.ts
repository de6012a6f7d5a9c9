import type { Cred, MaybePromise, Overlay } from '../../overlay-core/index.ts'
import type { NfsCaller, NfsMember, NfsMembers } from '../../protocols/nfs/index.ts'
import { machineAt } from './machine-names.ts'
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
    const found = this.#of(this.#template.byId(hex(viewHi) + hex(view)))
    if (found === undefined) this.#byLow.delete(view)
    else this.#byLow.set(view, found)
    return found
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

  constructor(of: TemplateView, template: Template) {
    this.of = of
    this.#template = template
    this.viewHi = Number.parseInt(of.record.id.slice(0, 8), 16)
    this.view = Number.parseInt(of.record.id.slice(8), 16)
    this.order = of.record.order
  }

  get name(): string {
    return Buffer.from(this.of.record.name, 'utf8').toString('latin1')
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
