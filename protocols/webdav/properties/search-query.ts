import { badRequest, DavError } from '../http/dav-error.ts'
import { limitOf, textIn } from '../http/limit.ts'
import { textOfName } from '../http/path.ts'
import { childElements, type XmlElement } from '../http/xml.ts'
import type { Member } from '../request/members.ts'
import { LikePattern } from './like-pattern.ts'
import { type PropfindQuery, readProperties, readPropfind } from './propfind-query.ts'

/** Whether a member matches. */
export type Condition = (member: Member) => boolean

/** A DAV:basicsearch (RFC 5323 section 5), as far as it is supported. */
export interface SearchQuery {
  readonly query: PropfindQuery
  /** The URL of the collection to search. */
  readonly scope: string
  readonly depth: 0 | 1 | 'infinity'
  readonly where: Condition
  /** The cost of `where` for one member, in units of a plain comparison. */
  readonly cost: number
  readonly limit: number
}

/** Values that conditions compare: text, or a number. */
const VALUES: Readonly<Record<string, (member: Member) => string | number | undefined>> = {
  displayname: ({ name }) => textOfName(name),
  getcontentlength: ({ collection, attr }) => (collection ? undefined : attr?.size),
  getlastmodified: ({ attr }) => attr && attr.mtime.sec * 1000,
}

const MOST_TESTS = 32

/** Parses nested conditions, and adds up their cost. */
interface ConditionReader {
  read(element: XmlElement): Condition
  costs(units: number): void
}

/** Parses a DAV:searchrequest. @throws DavError 400 the body is invalid · 422 it requests something unsupported */
export function readSearch(root: XmlElement): SearchQuery {
  if (root.uri !== 'DAV:' || root.local !== 'searchrequest') throw badRequest('the body is not a DAV:searchrequest')
  const search = child(root, 'basicsearch')
  if (search === undefined)
    throw new DavError(422, 'only DAV:basicsearch is supported', { condition: '<D:search-grammar-supported/>' })
  const select = child(search, 'select')
  const scope = child(child(search, 'from'), 'scope')
  const href = textIn(child(scope, 'href'))
  if (select === undefined || href === '') throw badRequest('the search has no DAV:select or no scope')
  const where = child(search, 'where')
  const [test] = where === undefined ? [] : childElements(where)
  let tests = 0
  let cost = 0
  const reader: ConditionReader = {
    read(element) {
      if (++tests > MOST_TESTS) throw badRequest('the search has too many conditions')
      return readCondition(element, reader)
    },
    costs(units) {
      cost += units
    },
  }
  const condition = test === undefined ? () => true : reader.read(test)
  const prop = child(select, 'prop')
  return {
    query: prop === undefined ? readPropfind({ ...select, local: 'propfind' }) : readProperties(prop),
    scope: href,
    depth: readDepth(textIn(child(scope, 'depth'))),
    where: condition,
    cost: Math.max(1, cost),
    limit: limitOf(child(search, 'limit')),
  }
}

function child(element: XmlElement | undefined, local: string): XmlElement | undefined {
  return element && childElements(element).find((candidate) => candidate.uri === 'DAV:' && candidate.local === local)
}

function readDepth(text: string): SearchQuery['depth'] {
  switch (text) {
    case '0':
      return 0
    case '1':
      return 1
    case '':
    case 'infinity':
      return 'infinity'
    default:
      throw badRequest('the depth of the scope is not 0, 1 or infinity')
  }
}

function readCondition(element: XmlElement, reader: ConditionReader): Condition {
  const parts = () => childElements(element).map((part) => reader.read(part))
  const unsupported = () => new DavError(422, `DAV:${element.local} is not supported in a search`)
  if (element.uri !== 'DAV:') throw unsupported()
  switch (element.local) {
    case 'and': {
      const all = parts()
      return (member) => all.every((part) => part(member))
    }
    case 'or': {
      const any = parts()
      return (member) => any.some((part) => part(member))
    }
    case 'not': {
      const [part] = parts()
      if (part === undefined) throw badRequest('DAV:not contains no condition')
      return (member) => !part(member)
    }
    case 'is-collection':
      return ({ collection }) => collection
    case 'like':
    case 'eq':
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      return readComparison(element, reader, unsupported)
    default:
      throw unsupported()
  }
}

function readComparison(element: XmlElement, reader: ConditionReader, unsupported: () => DavError): Condition {
  const [property] = childElements(child(element, 'prop') ?? element)
  const value = property?.uri === 'DAV:' ? VALUES[property.local] : undefined
  const literal = child(element, 'literal')
  if (value === undefined || literal === undefined) throw unsupported()
  const text = literal.children.filter((part) => typeof part === 'string').join('')
  const exact = element.attributes.some(({ local, value: given }) => local === 'caseless' && given === 'no')
  const fold = (given: string) => (exact ? given : given.toLowerCase())
  const folded = fold(text)
  if (element.local === 'like') {
    const pattern = new LikePattern(folded)
    reader.costs(pattern.words)
    return (member) => pattern.matches(fold(String(value(member) ?? '')))
  }
  reader.costs(1)
  const holds = COMPARISONS[element.local as keyof typeof COMPARISONS]
  const wanted = /^\d+$/.test(text.trim()) ? Number(text) : Date.parse(text)
  return (member) => {
    const found = value(member)
    if (found === undefined) return false
    if (typeof found === 'string') {
      const given = fold(found)
      return holds(given < folded ? -1 : Number(given > folded))
    }
    return !Number.isNaN(wanted) && holds(Math.sign(found - wanted))
  }
}

const COMPARISONS = {
  eq: (order: number) => order === 0,
  lt: (order: number) => order < 0,
  lte: (order: number) => order <= 0,
  gt: (order: number) => order > 0,
  gte: (order: number) => order >= 0,
}
