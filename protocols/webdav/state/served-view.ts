import type { Name, Overlay } from '../../../overlay-core/index.ts'
import type { Caller } from '../api/caller.ts'
import type { DavTemplate, DavUse, DavViewSettings } from '../api/settings.ts'
import { type DavPath, encodeSegment, hrefOf, nameOfText } from '../http/path.ts'
import type { DavView } from './context.ts'

const EVERYTHING: readonly Name[] = []

/** A view that all clients share, at `/NAME/`. */
export class ServedView {
  readonly id: string
  readonly name: string
  readonly overlay: Overlay
  readonly root: string
  readonly #settings: DavViewSettings
  /** What callers see, so that all requests of a caller see the same object. */
  readonly #seen = new WeakMap<Caller, DavView>()

  /** @throws TypeError the name is invalid */
  constructor(settings: DavViewSettings) {
    const { name, overlay } = settings
    if (!/^[^/?#%*:;\\\p{Cc}]+$/u.test(name) || name === '.' || name === '..') {
      throw new TypeError(`${JSON.stringify(name)} is not a valid view name`)
    }
    this.id = name
    this.name = name
    this.overlay = overlay
    this.root = `/${encodeSegment(nameOfText(name))}/`
    this.#settings = settings
  }

  /** The view as `caller` sees it; undefined if the token of the caller is for another one. */
  seenBy(caller: Caller): DavView | undefined {
    const known = this.#seen.get(caller)
    if (known !== undefined) return known
    if (!isInScope(this.name, caller)) return undefined
    const seen = viewOf(this.#settings, caller, { id: this.id, root: this.root })
    this.#seen.set(caller, seen)
    return seen
  }
}

/** A view of a template as `caller` sees it at the path `names` below the template. */
export function viewInUse(
  template: DavTemplate,
  { member, used }: DavUse,
  names: readonly Name[],
  caller: Caller,
): DavView {
  const way = [nameOfText(template.name), ...names.slice(0, used)]
  return viewOf(member, caller, { id: member.id, root: `/${way.map(encodeSegment).join('/')}/` })
}

/**
 * The usual path for a path of a request. A caller whose token has a segment of its own reaches only what that stands for: undefined is anything
 * else.
 */
export function usualPath(path: DavPath, { scope }: Caller): DavPath | undefined {
  if (scope?.root === undefined || scope.view === undefined) return path
  const [first, ...rest] = path.names
  return first === scope.root ? { ...path, names: [nameOfText(scope.view), ...scope.names, ...rest] } : undefined
}

/** The URL path of `names` in a view, with a final slash for a collection. */
export function hrefIn(
  { root, hidden }: Pick<DavView, 'root' | 'hidden'>,
  names: readonly Name[],
  collection: boolean,
): string {
  return hrefOf(root, hidden === 0 ? names : names.slice(hidden), collection)
}

/** Whether the token of a caller, if it has one, is for the view or template of this name. */
export function isInScope(name: string, { scope }: Caller): boolean {
  return scope?.view === undefined || scope.view === name
}

function viewOf(
  { name, overlay, symlinks, as }: Omit<DavViewSettings, 'name'> & { readonly name: string },
  caller: Caller,
  place: { readonly id: string; readonly root: string },
): DavView {
  const { uid, gid, groups } = as ?? caller
  // Nobody gets setuid, setgid or capabilities onto a file by a request, so a written file never keeps those of the file that it replaces.
  const cred = { uid, gid, groups, dropsPrivilege: true }
  const { names = EVERYTHING, root: own } = caller.scope ?? {}
  const root = own === undefined ? place.root : `/${encodeSegment(own)}/`
  const holder = { user: uid, ...(caller.lockName !== undefined && { login: caller.lockName }) }
  const seen = {
    ...place,
    root,
    name,
    overlay,
    cred,
    holder,
    within: names,
    hidden: own === undefined ? 0 : names.length,
  }
  return symlinks === undefined ? seen : { ...seen, symlinks }
}
