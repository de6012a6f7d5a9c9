import type { Attr, Name } from '../../overlay-core/index.ts'
import { badRequest } from './dav-error.ts'
import type { DeadProperty } from './dead-properties.ts'
import { type Described, LIVE_PROPERTIES, type LiveProperty, liveProperty, type Moment } from './properties.ts'
import { statusLine } from './status.ts'
import { childElements, type XmlElement } from './xml.ts'
import { emptyElement, escapeAttribute } from './xml-write.ts'

/** The properties that one PROPFIND body asks for, and how to write them. Kept and used again for equal bodies. */
export interface PropfindQuery {
  /** True when dead properties must be read to answer. */
  readonly needsDead: boolean
  /** True when the free space must be known to answer. */
  readonly needsSpace: boolean
  /** The `propstat` elements of one resource. `dead` may be empty unless `needsDead`. */
  propstats(resource: Described, moment: Moment, dead: readonly DeadProperty[]): string
}

interface PropertyName {
  readonly uri: string
  readonly local: string
}

/** What a resource has, and the names of what it lacks, as elements. */
interface Answer {
  found: string
  missing: string
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

/** Writes the properties that depend on nothing but the attributes and the name, once for as long as those stay. */
class SteadyProperties {
  readonly #properties: readonly LiveProperty[]
  readonly #namesMissing: boolean
  /** What was written for these attributes before: an Attr is never changed, only replaced. */
  readonly #written = new WeakMap<Attr, { name: Name; answer: Answer; whole: string }>()

  /** @param namesMissing whether what a resource lacks is to be told */
  constructor(properties: readonly LiveProperty[], namesMissing: boolean) {
    this.#properties = properties.filter((property) => !property.volatile)
    this.#namesMissing = namesMissing
  }

  write(resource: Described, moment: Moment): { readonly answer: Readonly<Answer>; readonly whole: string } {
    const known = this.#written.get(resource.attr)
    // Two names of one file share attributes, but not their displayname and type.
    if (known !== undefined && known.name === resource.name) return known
    const answer: Answer = { found: '', missing: '' }
    addLive(answer, this.#properties, resource, moment)
    if (!this.#namesMissing) answer.missing = ''
    const written = { name: resource.name, answer, whole: writePropstats(answer) }
    this.#written.set(resource.attr, written)
    return written
  }
}

/** Asks for properties by name. */
class NamedQuery implements PropfindQuery {
  readonly needsDead: boolean
  readonly needsSpace: boolean
  readonly #steady: SteadyProperties
  readonly #volatile: readonly LiveProperty[]
  readonly #dead: readonly PropertyName[]

  constructor(names: readonly PropertyName[]) {
    const known = names.map(({ uri, local }) => liveProperty(uri, local)).filter((property) => property !== undefined)
    this.#steady = new SteadyProperties(known, true)
    this.#volatile = known.filter((property) => property.volatile)
    this.#dead = names.filter(({ uri, local }) => liveProperty(uri, local) === undefined)
    this.needsDead = this.#dead.length > 0
    this.needsSpace = this.#volatile.some(isAboutSpace)
  }

  propstats(resource: Described, moment: Moment, dead: readonly DeadProperty[]): string {
    const steady = this.#steady.write(resource, moment)
    if (this.#volatile.length === 0 && this.#dead.length === 0) return steady.whole
    const answer = { ...steady.answer }
    addLive(answer, this.#volatile, resource, moment)
    for (const { uri, local } of this.#dead) {
      const property = dead.find((candidate) => candidate.uri === uri && candidate.local === local)
      if (property === undefined) answer.missing += emptyElement(uri, local)
      else answer.found += property.xml
    }
    return writePropstats(answer)
  }
}

const COMMON = LIVE_PROPERTIES.filter((property) => property.common)
const COMMON_VOLATILE = COMMON.filter((property) => property.volatile)

/** Asks for everything: all dead properties, the live ones of RFC 4918, and what `include` names. */
class AllQuery implements PropfindQuery {
  readonly needsDead = true
  readonly needsSpace: boolean
  readonly #steady = new SteadyProperties(COMMON, false)
  readonly #includedLive: readonly LiveProperty[]
  readonly #includedDead: readonly PropertyName[]

  constructor(included: readonly PropertyName[]) {
    const known = included
      .map(({ uri, local }) => liveProperty(uri, local))
      .filter((property) => property !== undefined)
    this.#includedLive = known.filter((property) => !property.common)
    this.#includedDead = included.filter(({ uri, local }) => liveProperty(uri, local) === undefined)
    this.needsSpace = this.#includedLive.some(isAboutSpace)
  }

  propstats(resource: Described, moment: Moment, dead: readonly DeadProperty[]): string {
    const answer = { ...this.#steady.write(resource, moment).answer }
    addLive(answer, COMMON_VOLATILE, resource, moment)
    addLive(answer, this.#includedLive, resource, moment)
    for (const { xml } of dead) answer.found += xml
    for (const { uri, local } of this.#includedDead) {
      const has = dead.some((candidate) => candidate.uri === uri && candidate.local === local)
      if (!has) answer.missing += emptyElement(uri, local)
    }
    return writePropstats(answer)
  }
}

function isAboutSpace(property: LiveProperty): boolean {
  return property.local.startsWith('quota-')
}

/** Asks for the names of all properties, without values. */
class NamesQuery implements PropfindQuery {
  readonly needsDead = true
  readonly needsSpace = true

  propstats(resource: Described, moment: Moment, dead: readonly DeadProperty[]): string {
    let found = dead.map(({ uri, local }) => emptyElement(uri, local)).join('')
    for (const property of LIVE_PROPERTIES) {
      if (property.value(resource, moment) !== undefined) found += emptyElement(property.uri, property.local)
    }
    return writePropstats({ found, missing: '' })
  }
}

/** What a PROPFIND without a body asks for (RFC 4918 section 9.1). */
export const ALL_PROPERTIES: PropfindQuery = new AllQuery([])

/** Reads a PROPFIND body. @throws DavError 400 it is none */
export function readPropfind(root: XmlElement): PropfindQuery {
  if (root.uri !== 'DAV:' || root.local !== 'propfind') throw badRequest('the body is not a DAV:propfind')
  const known = new Map<string, XmlElement>()
  for (const child of childElements(root)) {
    if (child.uri !== 'DAV:') continue
    if (known.has(child.local)) throw badRequest('the body asks twice')
    known.set(child.local, child)
  }
  const kinds = ['prop', 'allprop', 'propname'].filter((kind) => known.has(kind))
  if (kinds.length !== 1) throw badRequest('the body holds not exactly one of DAV:prop, DAV:allprop and DAV:propname')
  const include = known.get('include')
  switch (kinds[0]) {
    case 'prop':
      return new NamedQuery(namesIn(known.get('prop')!))
    case 'allprop':
      return include === undefined ? ALL_PROPERTIES : new AllQuery(namesIn(include))
    default:
      return new NamesQuery()
  }
}

function namesIn(element: XmlElement): PropertyName[] {
  const names = new Map<string, PropertyName>()
  for (const { uri, local } of childElements(element)) names.set(`${uri} ${local}`, { uri, local })
  return [...names.values()]
}
