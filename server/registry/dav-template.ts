import type { Name } from '../../overlay-core/index.ts'
import type { DavTemplate, DavUse, SymlinkPolicy } from '../../protocols/webdav/index.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'
import { viewNameError } from './view-name.ts'

/** The maximum number of views in a list. The others are reached by their names. */
const MOST_LISTED = 10_000

/** Who asks over WebDAV, as long as there is no login. */
export interface DavCaller {
  /** The user that all requests act as; undefined if there is none, or it has no name. */
  readonly user: string | undefined
  /** Whether a client at this address may name any user in the path. */
  readonly mayName: (address: string) => boolean
}

/** The views of a template as WebDAV reaches them: `/TEMPLATE/` is the caller's own, `/TEMPLATE/~USER/` that of a user. */
export class TemplatePaths implements DavTemplate {
  readonly name: string
  readonly #template: Template
  readonly #caller: DavCaller
  readonly #symlinks: SymlinkPolicy

  constructor(template: Template, caller: DavCaller, symlinks: SymlinkPolicy) {
    this.name = template.name
    this.#template = template
    this.#caller = caller
    this.#symlinks = symlinks
  }

  way(names: readonly Name[], address: string): { id: string; used: number } | undefined {
    const target = this.#target(names, address)
    if (target === undefined) return undefined
    const view = this.#template.byName(target.user)
    if (view === undefined || this.#isUnknownRoot(view)) return undefined
    return { id: view.record.id, used: target.used }
  }

  use(names: readonly Name[], address: string): DavUse | undefined | Promise<DavUse | undefined> {
    const target = this.#target(names, address)
    if (target === undefined) return undefined
    const view = this.#template.reach(target.user, address)
    if (view instanceof Promise) return view.then((made) => made && this.#use(made, target.used))
    return view && this.#use(view, target.used)
  }

  /** Whether a request acts as root although it has not said who it is. Any local user could then read what only root may read. */
  #isUnknownRoot({ record }: TemplateView): boolean {
    return record.uid === 0 && this.#caller.user === undefined
  }

  list(address: string): readonly string[] | undefined {
    if (!this.#caller.mayName(address)) return undefined
    const names: string[] = []
    for (const view of this.#template.list()) {
      if (names.length === MOST_LISTED) break
      if (!this.#isUnknownRoot(view)) names.push(`~${view.record.name}`)
    }
    return names
  }

  #use(view: TemplateView, used: number): DavUse | undefined | Promise<DavUse> {
    if (this.#isUnknownRoot(view)) return undefined
    const opened = view.use()
    if (opened instanceof Promise) return opened.then((overlay) => this.#used(view, used, overlay))
    return this.#used(view, used, opened)
  }

  #used(view: TemplateView, used: number, overlay: Awaited<ReturnType<TemplateView['use']>>): DavUse {
    const { id, name, uid, gid } = view.record
    const member = { id, name, overlay, cred: { uid, gid, groups: [] }, symlinks: this.#symlinks }
    return { id, used, member, release: () => view.release() }
  }

  /** The user whose view the names lead to, and how many of them are the way. */
  #target(names: readonly Name[], address: string): { user: string; used: number } | undefined {
    const { user, mayName } = this.#caller
    const named = userIn(names[0])
    if (named !== undefined && (named === user || mayName(address))) {
      // A name in one's own view can start with ~ too.
      if (user === undefined || this.#template.byName(named) !== undefined) return { user: named, used: 1 }
    }
    return user === undefined ? undefined : { user, used: 0 }
  }
}

/** The user in a path segment `~USER`. */
function userIn(segment: Name | undefined): string | undefined {
  if (segment === undefined || !segment.startsWith('~')) return undefined
  const user = Buffer.from(segment.slice(1), 'latin1').toString('utf8')
  return viewNameError(user) === undefined ? user : undefined
}
