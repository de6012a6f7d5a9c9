import type { Attr, Name } from '../../../overlay-core/index.ts'
import { badRequest } from '../http/dav-error.ts'
import { encodeSegment } from '../http/path.ts'
import { statusLine } from '../http/status.ts'
import { childElements, type XmlElement } from '../http/xml.ts'
import { emptyElement, escapeAttribute, utf8AsText } from '../http/xml-write.ts'
import { locksOn } from '../locks/resource-locks.ts'
import { OWNCLOUD_NAMESPACE } from '../state/checksums.ts'
import type { DeadProperty } from './dead-properties.ts'
import { type Described, isFile, LIVE_PROPERTIES, type LiveProperty, liveProperty, type Moment } from './properties.ts'
import { shownDead, win32Default, win32Element } from './win32-properties.ts'

interface PropertyName {
  readonly uri: string
  readonly local: string
}

/** The found properties, and the names of the missing ones, as elements. */
interface Answer {
  found: string
  missing: string
}

/** The requested properties. */
interface Selection {
  /** Whether dead properties are needed for the response. */
  readonly needsDead: boolean
  /** Whether the free space is needed for the response. */
  readonly needsSpace: boolean
  /** Whether checksums are requested. */
  readonly needsSums: boolean
  answer(resource: Described, moment: Moment, dead: readonly DeadProperty[]): Answer
}

/** A cached response element, and what it depends on besides the attributes. */
interface Written {
  readonly base: string
  readonly name: Name
  readonly dead: readonly DeadProperty[]
  readonly xml: string
}

/** The memory limit of elements cached by all queries, and the overhead of one element. */
const MOST_REMEMBERED_BYTES = 24 * 1024 * 1024
const OVERHEAD_BYTES = 120
/** Larger elements are not cached, in bytes. */
const REMEMBERED_BYTES = 4096

/** The cached bytes of all queries, and how often the cache was cleared. */
const remembered = { bytes: 0, epoch: 0 }

/**
 * One PROPFIND body: the requested properties, and cached responses. It is reused for equal bodies, so that a response element is
 * serialized only once while its resource does not change: an Attr is never modified, only replaced.
 */
export class PropfindQuery {
  readonly #selection: Selection
  #written = new WeakMap<Attr, Written>()
  #epoch = remembered.epoch

  constructor(selection: Selection) {
    this.#selection = selection
  }

  /** Whether `dead` must be complete. */
  get needsDead(): boolean {
    return this.#selection.needsDead
  }

  /** Whether checksums of files are needed. */
  get needsSums(): boolean {
    return this.#selection.needsSums
  }

  /** Whether the free space is needed. */
  get needsSpace(): boolean {
    return this.#selection.needsSpace
  }

  /** The `response` element of a resource, one character for each byte of UTF-8. `base` is the encoded path of its parent, with a final slash. */
  response(base: string, resource: Described, moment: Moment, dead: readonly DeadProperty[]): string {
    if (this.needsSpace || this.needsSums || changes(resource, moment)) return this.#write(base, resource, moment, dead)
    const { attr, name } = resource
    if (this.#epoch !== remembered.epoch) this.#forget()
    const known = this.#written.get(attr)
    // Several names of one file, possibly in several directories, share its attributes.
    if (known !== undefined && known.name === name && known.dead === dead && known.base === base) return known.xml
    const xml = this.#write(base, resource, moment, dead)
    if (xml.length > REMEMBERED_BYTES) return xml
    remembered.bytes += xml.length + OVERHEAD_BYTES - (known === undefined ? 0 : known.xml.length + OVERHEAD_BYTES)
    if (remembered.bytes > MOST_REMEMBERED_BYTES) {
      remembered.epoch++
      remembered.bytes = xml.length + OVERHEAD_BYTES
      this.#forget()
    }
    this.#written.set(attr, { base, name, dead, xml })
    return xml
  }

  #write(base: string, resource: Described, moment: Moment, dead: readonly DeadProperty[]): string {
    const href = `${base}${encodeSegment(resource.name)}${isFile(resource) ? '' : '/'}`
    const propstats = writePropstats(this.#selection.answer(resource, moment, dead))
    return utf8AsText(`<D:response><D:href>${href}</D:href>${propstats}</D:response>`)
  }

  #forget(): void {
    this.#written = new WeakMap()
    this.#epoch = remembered.epoch
  }
}

/** Whether the response can change while the attributes do not: the resource is locked, or its time is in the future. */
function changes(resource: Described, { services }: Moment): boolean {
  const { locks } = services
  if (locks.size > 0 && locksOn(locks, resource).length > 0) return true
  return resource.attr.mtime.sec * 1000 > services.now()
}

const FOUND_END = `</D:prop><D:status>${statusLine(200)}</D:status></D:propstat>`
const MISSING_END = `</D:prop><D:status>${statusLine(404)}</D:status></D:propstat>`

function writePropstats({ found, missing }: Answer): string {
  const rest = missing === '' ? '' : `<D:propstat><D:prop>${missing}${MISSING_END}`
  return found === '' && missing !== '' ? rest : `<D:propstat><D:prop>${found}${FOUND_END}${rest}`
}

function writeLive(property: LiveProperty, content: string): string {
  if (property.uri !== 'DAV:') {
    return `<x:${property.local} xmlns:x="${escapeAttribute(property.uri)}">${content}</x:${property.local}>`
  }
  return content === '' ? `<D:${property.local}/>` : `<D:${property.local}>${content}</D:${property.local}>`
}

function addLive(answer: Answer, properties: readonly LiveProperty[], resource: Described, moment: Moment): void {
  for (const property of properties) {
    const content = property.value(resource, moment)
    if (content === undefined) answer.missing += emptyElement(property.uri, property.local)
    else answer.found += writeLive(property, content)
  }
}

/** Requests properties by name. */
class NamedProperties implements Selection {
  readonly needsDead: boolean
  readonly needsSpace: boolean
  readonly needsSums: boolean
  readonly #live: readonly LiveProperty[]
  readonly #dead: readonly (PropertyName & { readonly empty: string })[]

  constructor(names: readonly PropertyName[]) {
    this.#live = names.map(({ uri, local }) => liveProperty(uri, local)).filter((property) => property !== undefined)
    this.#dead = names
      .filter(({ uri, local }) => liveProperty(uri, local) === undefined)
      .map(({ uri, local }) => ({ uri, local, empty: emptyElement(uri, local) }))
    this.needsDead = this.#dead.length > 0
    this.needsSpace = this.#live.some(isAboutSpace)
    this.needsSums = this.#live.some(({ uri }) => uri === OWNCLOUD_NAMESPACE)
  }

  /** Whether this dead property is requested. */
  names(property: PropertyName): boolean {
    return this.#dead.some(({ uri, local }) => uri === property.uri && local === property.local)
  }

  answer(resource: Described, moment: Moment, dead: readonly DeadProperty[]): Answer {
    const answer: Answer = { found: '', missing: '' }
    addLive(answer, this.#live, resource, moment)
    for (const { uri, local, empty } of this.#dead) {
      const property = dead.find((candidate) => candidate.uri === uri && candidate.local === local)
      const standing = property === undefined ? win32Default(uri, local, resource) : undefined
      if (property !== undefined) answer.found += shownDead(property, resource)
      else if (standing !== undefined) answer.found += win32Element(local, standing)
      else answer.missing += empty
    }
    return answer
  }
}

const COMMON = LIVE_PROPERTIES.filter((property) => property.common)

/** Requests everything: all dead properties, the live ones of RFC 4918, and those named in `include`. */
class AllProperties implements Selection {
  readonly needsDead = true
  readonly needsSpace: boolean
  readonly needsSums: boolean
  readonly #included: NamedProperties

  constructor(included: readonly PropertyName[]) {
    this.#included = new NamedProperties(included.filter(({ uri, local }) => !liveProperty(uri, local)?.common))
    this.needsSpace = this.#included.needsSpace
    this.needsSums = this.#included.needsSums
  }

  answer(resource: Described, moment: Moment, dead: readonly DeadProperty[]): Answer {
    const common: Answer = { found: '', missing: '' }
    addLive(common, COMMON, resource, moment)
    // A dead property named in `include` is already listed by name and must not appear twice.
    const { found, missing } = this.#included.answer(resource, moment, dead)
    const others = dead.filter((property) => !this.#included.names(property))
    return { found: common.found + found + others.map((property) => shownDead(property, resource)).join(''), missing }
  }
}

/** Requests the names of all properties, without values. */
class PropertyNames implements Selection {
  readonly needsDead = true
  readonly needsSpace = true
  readonly needsSums = false

  answer(resource: Described, moment: Moment, dead: readonly DeadProperty[]): Answer {
    let found = dead.map(({ uri, local }) => emptyElement(uri, local)).join('')
    for (const property of LIVE_PROPERTIES) {
      if (property.value(resource, moment) !== undefined) found += emptyElement(property.uri, property.local)
    }
    return { found, missing: '' }
  }
}

function isAboutSpace(property: LiveProperty): boolean {
  return property.local.startsWith('quota-')
}

/** The query of a PROPFIND without a body (RFC 4918 section 9.1). */
export const ALL_PROPERTIES = new PropfindQuery(new AllProperties([]))

/** Parses a PROPFIND body. @throws DavError 400 the body is invalid */
export function readPropfind(root: XmlElement): PropfindQuery {
  if (root.uri !== 'DAV:' || root.local !== 'propfind') throw badRequest('the body is not a DAV:propfind')
  const known = new Map<string, XmlElement>()
  for (const child of childElements(root)) {
    if (child.uri !== 'DAV:') continue
    if (known.has(child.local)) throw badRequest('duplicate element in propfind')
    known.set(child.local, child)
  }
  const kinds = ['prop', 'allprop', 'propname'].filter((kind) => known.has(kind))
  if (kinds.length !== 1) throw badRequest('the body needs exactly one of DAV:prop, DAV:allprop and DAV:propname')
  const include = known.get('include')
  switch (kinds[0]) {
    case 'prop':
      return readProperties(known.get('prop')!)
    case 'allprop':
      return include === undefined ? ALL_PROPERTIES : new PropfindQuery(new AllProperties(namesIn(include)))
    default:
      return new PropfindQuery(new PropertyNames())
  }
}

/** Parses a DAV:prop element that names properties, which other methods use too. */
export function readProperties(prop: XmlElement): PropfindQuery {
  return new PropfindQuery(new NamedProperties(namesIn(prop)))
}

function namesIn(element: XmlElement): PropertyName[] {
  const names = new Map<string, PropertyName>()
  for (const { uri, local } of childElements(element)) names.set(`${uri} ${local}`, { uri, local })
  return [...names.values()]
}
