import type { Cred, Name, Overlay } from '../../overlay-core/index.ts'
import type { Caller, DavClient, DavTemplate, DavUse, SymlinkPolicy } from '../../protocols/webdav/index.ts'
import type { Action } from '../login/index.ts'
import { asksForSnapshots, throughSnapshots } from './snapshot-paths.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'
import { viewNameError } from './view-name.ts'

/** The maximum number of views in a list. The others are reached by their names. */
const MOST_LISTED = 10_000

/** What clients may do with the views of a template. */
export interface TemplateAccess {
  /** The user whose view the template itself is for this client; undefined if there is none, or it has no name. */
  userOf(client: DavClient): string | undefined
  /** Whether the client may do it here. */
  may(client: DavClient, action: Extract<Action, `${string} view` | 'list views of template'>): boolean
  /** Whether the client acts as root although it has not said who it is. Any local user could then read what only root may read. */
  isUnknownRoot(client: DavClient, uid: number): boolean
  /** Whether a request acts as the user whom its path names, and so as one user only. */
  readonly oneUser: boolean
  /** The supplementary groups of the client in its own view. */
  groupsOf(caller: Caller): readonly number[]
}

/** Where the names of a path lead. */
interface Target {
  readonly user: string
  /** How many of the names are the way. */
  readonly used: number
  readonly own: boolean
}

/** The views of a template as WebDAV reaches them: `/TEMPLATE/` is the caller's own, `/TEMPLATE/~USER/` that of a user. */
export class TemplatePaths implements DavTemplate {
  readonly name: string
  readonly #template: Template
  readonly #access: TemplateAccess
  readonly #symlinks: SymlinkPolicy

  constructor(template: Template, access: TemplateAccess, symlinks: SymlinkPolicy) {
    this.name = template.name
    this.#template = template
    this.#access = access
    this.#symlinks = symlinks
  }

  way(names: readonly Name[], client: DavClient): { id: string; used: number } | undefined {
    const target = this.#target(names, client)
    if (target === undefined) return undefined
    const view = this.#template.byName(target.user)
    if (view === undefined || this.#access.isUnknownRoot(client, view.record.uid)) return undefined
    return { id: view.record.id, used: target.used }
  }

  use(names: readonly Name[], client: DavClient): DavUse | undefined | Promise<DavUse | undefined> {
    const target = this.#target(names, client)
    if (target === undefined) return undefined
    const view = this.#template.reach(target.user, client.address)
    if (view instanceof Promise) return view.then((made) => made && this.#use(made, target, client, names))
    return view && this.#use(view, target, client, names)
  }

  list(client: DavClient): readonly string[] | undefined {
    if (!this.#access.may(client, 'list views of template')) return undefined
    const names: string[] = []
    for (const view of this.#template.list()) {
      if (names.length === MOST_LISTED) break
      if (!this.#access.isUnknownRoot(client, view.record.uid)) names.push(`~${view.record.name}`)
    }
    return names
  }

  #use(
    view: TemplateView,
    target: Target,
    client: DavClient,
    names: readonly Name[],
  ): DavUse | undefined | Promise<DavUse | undefined> {
    if (this.#access.isUnknownRoot(client, view.record.uid)) return undefined
    const opened = view.use()
    const used = (overlay: Overlay) => {
      const use = this.#used(view, target, client, overlay)
      return asksForSnapshots(names, use.used) ? throughSnapshots(this.#template, view, use, names) : use
    }
    return opened instanceof Promise ? opened.then(used) : used(opened)
  }

  /** Everybody acts as the owner of the view, so that everything in it belongs to that user. */
  #used(view: TemplateView, { used, own }: Target, client: DavClient, overlay: Overlay): DavUse {
    const { id, name, uid, gid } = view.record
    const as: Cred = { uid, gid, groups: own && client.caller.uid === uid ? this.#access.groupsOf(client.caller) : [] }
    const readOnly = !this.#access.may(client, own ? 'change own view' : 'change other view')
    const member = { id, name, overlay, as, symlinks: this.#symlinks }
    // Whose view it is, and who may change the views of others, need not wait for a lock that somebody forgot in it.
    const endsLocks = !readOnly && client.caller.scope === undefined
    const named = this.#access.oneUser ? name : undefined
    return { id, used, member, readOnly, endsLocks, named, release: () => view.release() }
  }

  #target(names: readonly Name[], client: DavClient): Target | undefined {
    const target = this.#pathOf(names, client)
    const { named } = client
    return named === undefined || target?.user === named ? target : undefined
  }

  #pathOf(names: readonly Name[], client: DavClient): Target | undefined {
    const user = this.#access.userOf(client)
    const named = userIn(names[0])
    if (named !== undefined && (named === user || this.#access.may(client, 'read other view'))) {
      // A name in one's own view can start with ~ too.
      if (user === undefined || this.#template.byName(named) !== undefined)
        return { user: named, used: 1, own: named === user }
    }
    if (user === undefined || !this.#access.may(client, 'read own view')) return undefined
    return { user, used: 0, own: true }
  }
}

/** The user in a path segment `~USER`. */
function userIn(segment: Name | undefined): string | undefined {
  if (segment === undefined || !segment.startsWith('~')) return undefined
  const user = Buffer.from(segment.slice(1), 'latin1').toString('utf8')
  return viewNameError(user) === undefined ? user : undefined
}
