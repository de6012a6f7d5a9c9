import {
  type Aspect,
  type Attr,
  type Cred,
  compare,
  type Difference,
  FileType,
  type Inode,
  mount,
  type Name,
  OptionError,
  type Overlay,
} from '../../overlay-core/index.ts'
import { withoutUpper } from '../mount-view.ts'
import { type HeldView, holdView, type ServedViews } from './held-view.ts'

/** The differences of a view that are wanted. */
export interface DiffOrder {
  /** `TEMPLATE/NAME`, a snapshot as `TEMPLATE/NAME@SNAPSHOT`, or the name of a view that all share. */
  readonly view: string
  /** What it is compared with: another view or snapshot; the layers of the template if there is none. */
  readonly against?: string
  /** Only what is at these paths, or below them; everything if there are none. */
  readonly paths?: readonly string[]
  /** Whether the content of small files is wanted. */
  readonly contents?: boolean
  /** Whether objects of the upper that equal those below are wanted too. */
  readonly same?: boolean
}

/** An object on one side of a difference. */
export interface Side {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes. */
  readonly size: number
  /** ISO 8601. */
  readonly mtime: string
  /** The content of a small regular file or the target of a symlink, in base64, if it was asked for. */
  readonly content?: string
}

/** One difference, as a line of JSON. Paths have no slash at either end; bytes that are not UTF-8 are replaced. */
export interface DifferenceLine {
  readonly kind: Difference['kind']
  readonly path: string
  /** The exact bytes of `path` in base64, if they are not UTF-8. */
  readonly pathBytes?: string
  readonly from?: string
  readonly aspects: readonly Aspect[]
  readonly type: keyof typeof FileType
  readonly before?: Side | undefined
  readonly after?: Side | undefined
}

/** The last line: all differences were told, or why not. */
export type LastLine = { readonly done: number } | { readonly error: string }

/** Content of larger files is not sent. */
const MOST_CONTENT_BYTES = 512 * 1024
/** The administrator of the server sees everything. */
const ADMIN: Cred = { uid: 0, gid: 0, groups: [] }

const TYPES = new Map(Object.entries(FileType).map(([name, type]) => [type, name as keyof typeof FileType]))

/**
 * Compares a view with its lowers or with another view, and yields lines of JSON, with a `LastLine` at the end. Fails before the first line if a view is not
 * there.
 *
 * @throws OptionError naming `view` or `--against`
 */
export async function viewDifferences(served: ServedViews, order: DiffOrder): Promise<AsyncGenerator<string>> {
  const held = await holdView(served, order.view, 'view')
  try {
    const base = await baseOf(served, held.overlay, order)
    const release = async () => {
      await base.release()
      await held.release()
    }
    return lines(held.overlay, base.overlay, order, release)
  } catch (error) {
    await held.release()
    throw error
  }
}

async function baseOf(served: ServedViews, overlay: Overlay, { view, against }: DiffOrder): Promise<HeldView> {
  if (against === undefined) {
    const { upperdir, frozen = 0, ...lowers } = overlay.options
    if (upperdir === undefined && frozen === 0)
      throw new OptionError('view', `${view} has no upper, so nothing in it was changed`)
    const lowerdir = lowers.lowerdir.slice(frozen)
    const base = await mount(withoutUpper({ ...lowers, upperdir, lowerdir }))
    return { overlay: base, release: () => base.unmount() }
  }
  const base = await holdView(served, against, '--against')
  if (base.overlay.options.lowerdir.at(-1) === overlay.options.lowerdir.at(-1)) return base
  await base.release()
  throw new OptionError('--against', `${against} and ${view} have no layer in common; name a view of the same stack`)
}

async function* lines(
  overlay: Overlay,
  base: Overlay,
  order: DiffOrder,
  release: () => Promise<void>,
): AsyncGenerator<string> {
  const wanted = (order.paths ?? []).map((path) => path.replace(/^\/+|\/+$/g, ''))
  let done = 0
  try {
    for await (const found of compare(ADMIN, overlay, base)) {
      const difference = withoutOwnRoot(found)
      if (difference.kind === 'same' && order.same !== true) continue
      const paths = pathsOf(difference)
      if (!isWanted(paths, wanted)) continue
      done++
      const sides = await sidesOf(overlay, base, difference, order.contents === true)
      const { kind, aspects, type } = difference
      const line: DifferenceLine = { kind, ...paths, aspects, type: TYPES.get(type)!, ...sides }
      yield `${JSON.stringify(line)}\n`
    }
    yield `${JSON.stringify({ done } satisfies LastLine)}\n`
  } catch (error) {
    const { message } = error as Error
    yield `${JSON.stringify({ error: message } satisfies LastLine)}\n`
  } finally {
    await release()
  }
}

/** The server itself gives the root of a view to its user. */
function withoutOwnRoot(found: Difference): Difference {
  if (found.path.length > 0 || found.kind !== 'changed') return found
  const aspects = found.aspects.filter((aspect) => aspect !== 'owner')
  return { ...found, aspects, kind: aspects.length === 0 ? 'same' : 'changed' }
}

type Paths = Pick<DifferenceLine, 'path' | 'pathBytes' | 'from'>

function pathsOf({ path, from }: Difference): Paths {
  return { ...shown(path), ...(from && { from: shown(from).path }) }
}

function isWanted({ path, from }: Paths, wanted: readonly string[]): boolean {
  if (wanted.length === 0) return true
  const lies = (at: string) => wanted.some((top) => top === '' || at === top || at.startsWith(`${top}/`))
  return lies(path) || (from !== undefined && lies(from))
}

async function sidesOf(
  overlay: Overlay,
  base: Overlay,
  { before, after }: Difference,
  contents: boolean,
): Promise<Pick<DifferenceLine, 'before' | 'after'>> {
  return {
    ...(before && { before: await sideOf(base, before, contents) }),
    ...(after && { after: await sideOf(overlay, after, contents) }),
  }
}

/** The attributes of an object that may just have been removed. */
async function sideOf(overlay: Overlay, inode: Inode, contents: boolean): Promise<Side | undefined> {
  try {
    const attr = await overlay.getattr(inode)
    const { mode, uid, gid, size } = attr
    const content = contents ? await contentOf(overlay, inode, attr) : undefined
    const mtime = new Date(attr.mtime.sec * 1000 + Math.floor(attr.mtime.nsec / 1e6)).toISOString()
    return { mode, uid, gid, size, mtime, ...(content && { content: content.toString('base64') }) }
  } catch {
    return undefined
  }
}

async function contentOf(overlay: Overlay, inode: Inode, { type, size }: Attr): Promise<Buffer | undefined> {
  if (type === FileType.symlink) return Buffer.from(await overlay.readlink(ADMIN, inode))
  if (type !== FileType.regular || size > MOST_CONTENT_BYTES) return undefined
  const content = Buffer.alloc(size)
  const got = await overlay.read(ADMIN, inode, content, 0, size, 0)
  return content.subarray(0, got)
}

/** A path as text, and its bytes if they are no text. */
function shown(names: readonly Name[]): { path: string; pathBytes?: string } {
  const bytes = Buffer.from(names.join('/'), 'latin1')
  const path = bytes.toString('utf8')
  return Buffer.from(path, 'utf8').equals(bytes) ? { path } : { path, pathBytes: bytes.toString('base64') }
}
