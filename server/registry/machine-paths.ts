import type { Cred, Name, Overlay } from '../../overlay-core/index.ts'
import type { DavClient, DavTemplate, DavUse, SymlinkPolicy } from '../../protocols/webdav/index.ts'
import { machineAt } from './machine-names.ts'
import { asksForSnapshots, throughSnapshots } from './snapshot-paths.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'

/** The views of machines as WebDAV reaches them: `/TEMPLATE/` and `/TEMPLATE/ADDRESS/` are that of the asking machine. Nobody reaches another one. */
export class MachinePaths implements DavTemplate {
  readonly name: string
  readonly #template: Template
  readonly #as: Cred | undefined
  readonly #symlinks: SymlinkPolicy

  /** `as`: whom all callers act as; by default each acts as itself. */
  constructor(template: Template, as: Cred | undefined, symlinks: SymlinkPolicy) {
    this.name = template.name
    this.#template = template
    this.#as = as
    this.#symlinks = symlinks
  }

  way(names: readonly Name[], { machine: address }: DavClient): { id: string; used: number } | undefined {
    const machine = this.#nameAt(address)
    const view = machine === '' ? undefined : this.#template.byName(machine)
    return view && { id: view.record.id, used: usedOf(names, machine) }
  }

  use(names: readonly Name[], { machine: address }: DavClient): DavUse | undefined | Promise<DavUse | undefined> {
    const machine = this.#nameAt(address)
    if (machine === '') return undefined
    const used = usedOf(names, machine)
    const view = this.#template.reach(machine, address)
    if (view instanceof Promise) return view.then((made) => made && this.#use(made, used, names))
    return view && this.#use(view, used, names)
  }

  #nameAt(address: string): string {
    return address === '' ? '' : machineAt(this.#template, address)
  }

  list(): undefined {
    return undefined
  }

  #use(view: TemplateView, used: number, names: readonly Name[]): DavUse | Promise<DavUse | undefined> {
    const opened = view.use()
    const done = (overlay: Overlay) => {
      const use = this.#used(view, used, overlay)
      return asksForSnapshots(names, used) ? throughSnapshots(this.#template, view, use, names) : use
    }
    return opened instanceof Promise ? opened.then(done) : done(opened)
  }

  #used(view: TemplateView, used: number, overlay: Overlay): DavUse {
    const { id, name } = view.record
    const member = { id, name, overlay, as: this.#as, symlinks: this.#symlinks }
    return { id, used, member, readOnly: false, release: () => view.release() }
  }
}

/** How many of the names are the way to the view. */
function usedOf([first]: readonly Name[], machine: string): number {
  return first === machine ? 1 : 0
}
