import { type AttrChange, FileType, type Inode, type SetTime } from '../../../overlay-core/index.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { parseTime } from '../http/headers.ts'
import { parseHttpDate } from '../http/http-date.ts'
import { statusLine, statusOf } from '../http/status.ts'
import { childElements, hasMoreTextThan, textOf, type XmlElement } from '../http/xml.ts'
import { emptyElement, serializeElement } from '../http/xml-write.ts'
import { type DeadProperty, readDead, writeDead } from '../properties/dead-properties.ts'
import { APACHE_NAMESPACE, liveProperty } from '../properties/properties.ts'
import { MICROSOFT_NAMESPACE, modeFromAttributes } from '../properties/win32-properties.ts'
import { parseBody, readBody } from '../request/body.ts'
import { prepareGuard } from '../request/guard.ts'
import { requireResource } from '../request/lock-check.ts'
import { keptTime } from '../request/modification-time.ts'
import { Multistatus } from '../request/multistatus.ts'
import { isDirectory, isVisible, resolve } from '../request/resolve.ts'
import type { ViewContext } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'

/** Properties that set the modification time: RFC 4918's, and the one that rclone sets on ownCloud servers. */
const SETS_MTIME: ReadonlySet<string> = new Set(['getlastmodified', 'lastmodified'])

/** The mode without setuid, setgid and sticky. */
const PLAIN_MODE = 0o777

/** One instruction of a DAV:propertyupdate. */
interface Instruction {
  readonly element: XmlElement
  readonly remove: boolean
}

/** The combined effect of the instructions. */
interface Outcome {
  /** The status of each instruction; 200 if it can be done. */
  readonly statuses: readonly number[]
  readonly change: AttrChange
  readonly dead: readonly DeadProperty[]
}

/**
 * PROPPATCH (RFC 4918 section 9.2): all instructions or none. Dead properties are stored as protocol data of the object; `executable`, `getlastmodified`,
 * `lastmodified` and the `Win32*` times change its attributes; other live properties are protected.
 *
 * @throws DavError 400 · 404 · 412 · 423 · 507 the properties do not fit
 */
export async function proppatch(ctx: ViewContext): Promise<void> {
  const { view, services } = ctx
  const body = await readBody(ctx, services.limits.proppatchBytes)
  const instructions = readInstructions(await parseBody(body, services.limits))
  const target = await resolve(view, ctx.path.names, true)
  const { inode } = target
  if (inode === undefined || !isVisible(inode)) throw new DavError(404, 'no such resource')
  const guard = await prepareGuard(ctx, target)
  guard.verify(inode, await view.overlay.getattr(inode), () => requireResource(services, target, guard.tokens))
  // Concurrent changes of properties of one object must not overwrite each other.
  const key = `${view.id}/${inode.key}/${inode.generation}`
  const statuses = await services.properties.run(key, () => apply(ctx, inode, instructions))
  await sendStatuses(ctx, hrefIn(view, ctx.path.names, isDirectory(inode)), instructions, statuses)
}

function readInstructions(root: XmlElement | undefined): Instruction[] {
  if (root?.uri !== 'DAV:' || root.local !== 'propertyupdate') throw badRequest('the body is not a DAV:propertyupdate')
  const instructions: Instruction[] = []
  for (const action of childElements(root)) {
    if (action.uri !== 'DAV:' || (action.local !== 'set' && action.local !== 'remove')) continue
    for (const prop of childElements(action)) {
      if (prop.uri !== 'DAV:' || prop.local !== 'prop') continue
      for (const element of childElements(prop)) instructions.push({ element, remove: action.local === 'remove' })
    }
  }
  if (instructions.length === 0) throw badRequest('the body changes nothing')
  return instructions
}

async function apply(ctx: ViewContext, inode: Inode, instructions: readonly Instruction[]): Promise<readonly number[]> {
  const { overlay, cred } = ctx.view
  const { propertyBytes } = ctx.services.limits
  // Escaping a megabyte of text takes long, so do not serialize properties that are too large anyway.
  const large = instructions.map(({ element, remove }) => !remove && hasMoreTextThan(element, propertyBytes))
  if (large.includes(true)) return large.map((tooLarge) => (tooLarge ? 507 : 424))
  const before = await readDead(ctx.view, inode)
  const attr = await overlay.getattr(inode)
  const outcome = plan(instructions, before, attr.mode, inode.type === FileType.regular)
  const failed = outcome.statuses.some((status) => status !== 200)
  if (failed) return outcome.statuses.map((status) => (status === 200 ? 424 : status))
  const changesDead = outcome.dead !== before
  try {
    if (changesDead) await writeDead(ctx.view, inode, outcome.dead, propertyBytes)
  } catch (error) {
    return allFailed(instructions, error)
  }
  if (Object.keys(outcome.change).length === 0) return outcome.statuses
  try {
    await overlay.setattr(cred, inode, outcome.change)
    if (!keptTime(outcome.change.mtime, await overlay.getattr(inode))) {
      const { mode, mtime, atime } = attr
      await overlay.setattr(cred, inode, { mode, mtime, atime })
      throw new DavError(409, 'the file system cannot store this time')
    }
  } catch (error) {
    if (changesDead) await writeDead(ctx.view, inode, before, propertyBytes)
    const status = statusOf(error)
    return instructions.map(({ element }) => (changesAttributes(element) ? status : 424))
  }
  return outcome.statuses
}

/** Handles a lack of space: each dead property reports it, and the rest fails with them (RFC 4918 section 9.2.1). @throws any other error */
function allFailed(instructions: readonly Instruction[], error: unknown): readonly number[] {
  if (statusOf(error) !== 507) throw error
  return instructions.map(({ element, remove }) => (changesAttributes(element) || remove ? 424 : 507))
}

function plan(
  instructions: readonly Instruction[],
  before: readonly DeadProperty[],
  mode: number,
  isFile: boolean,
): Outcome {
  // By name, in the order in which they were first set.
  const dead = new Map(before.map((property) => [keyOf(property), property]))
  let changed = false
  let change: AttrChange = {}
  const statuses = instructions.map(({ element, remove }) => {
    const { uri, local } = element
    if (liveProperty(uri, local) === undefined) {
      if (remove) changed = dead.delete(keyOf(element)) || changed
      else {
        if (isAttributes(element)) {
          const present = change.mode ?? mode
          const wanted = modeFromAttributes(textOf(element), present, isFile)
          if (wanted === undefined) return 409
          if (wanted !== present) change = { ...change, mode: wanted }
        }
        dead.set(keyOf(element), { uri, local, xml: serializeElement(element) })
        changed = true
      }
      return 200
    }
    const attributes = remove ? undefined : attributeChange(element, change.mode ?? mode, isFile)
    if (typeof attributes !== 'object') return attributes ?? 403
    change = { ...change, ...attributes }
    return 200
  })
  return { statuses, change, dead: changed ? [...dead.values()] : before }
}

function keyOf({ uri, local }: { readonly uri: string; readonly local: string }): string {
  return `${local} ${uri}`
}

function changesAttributes(element: XmlElement): boolean {
  const { uri, local } = element
  return liveProperty(uri, local) !== undefined || isAttributes(element)
}

/** A property that is stored as set and also changes the mode. */
function isAttributes({ uri, local }: XmlElement): boolean {
  return uri === MICROSOFT_NAMESPACE && local === 'Win32FileAttributes'
}

/** The change of attributes for setting a live property, or the status that refuses it (RFC 4918 section 9.2.1). */
function attributeChange(element: XmlElement, mode: number, isFile: boolean): AttrChange | number {
  const { uri, local } = element
  const text = textOf(element).trim()
  if (uri === 'DAV:' && SETS_MTIME.has(local)) {
    const mtime = parseTime(text)
    return mtime === undefined ? 409 : { mtime }
  }
  if (uri === APACHE_NAMESPACE && local === 'executable') {
    if (!isFile || (text !== 'T' && text !== 'F')) return 409
    // Like chmod a+x, but only for classes with read permission; setuid cannot be set over HTTP.
    const bits = mode & PLAIN_MODE
    return { mode: text === 'T' ? bits | ((bits & 0o444) >> 2) : bits & ~0o111 }
  }
  if (uri !== MICROSOFT_NAMESPACE) return 403
  const sec = parseHttpDate(text)
  if (sec === undefined) return 409
  const time: SetTime = { sec, nsec: 0 }
  return local === 'Win32LastModifiedTime' ? { mtime: time } : { atime: time }
}

async function sendStatuses(
  ctx: ViewContext,
  href: string,
  instructions: readonly Instruction[],
  statuses: readonly number[],
): Promise<void> {
  const byStatus = new Map<number, string>()
  for (let i = 0; i < instructions.length; i++) {
    const { uri, local } = instructions[i].element
    byStatus.set(statuses[i], (byStatus.get(statuses[i]) ?? '') + emptyElement(uri, local))
  }
  const answer = new Multistatus(ctx)
  let propstats = ''
  for (const [status, names] of byStatus) {
    const error = status === 403 ? '<D:error><D:cannot-modify-protected-property/></D:error>' : ''
    propstats += `<D:propstat><D:prop>${names}</D:prop><D:status>${statusLine(status)}</D:status>${error}</D:propstat>`
  }
  await answer.add(`<D:response><D:href>${href}</D:href>${propstats}</D:response>`)
  answer.end()
}
