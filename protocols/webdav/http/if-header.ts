import { badRequest } from './dav-error.ts'
import { type EntityTag, readEntityTag } from './etag.ts'

/** One condition: a state token (`<…>`) or an entity tag (`[…]`), optionally negated. */
export interface IfCondition {
  readonly not: boolean
  readonly token?: string
  readonly etag?: EntityTag
}

/** A list of conditions, all of which must be true, and the resource it applies to (undefined: the resource of the request). */
export interface IfList {
  readonly tag: string | undefined
  readonly conditions: readonly IfCondition[]
}

const MAX_CONDITIONS = 256

/**
 * Parses an If field (RFC 4918 section 10.4.2). The field is true if one of the lists is.
 * @throws DavError 400 the field is malformed
 */
export function parseIf(field: string): IfList[] {
  return new IfParser(field).parse()
}

class IfParser {
  readonly #text: string
  #at = 0
  #conditions = 0

  constructor(text: string) {
    this.#text = text
  }

  parse(): IfList[] {
    const lists: IfList[] = []
    this.#skipSpace()
    const tagged = this.#text[this.#at] === '<'
    while (this.#at < this.#text.length) {
      const tag = tagged ? this.#angled() : undefined
      this.#skipSpace()
      // A resource tag applies to all lists that follow it; tagged and untagged lists must not be mixed.
      do {
        lists.push({ tag, conditions: this.#list() })
        this.#skipSpace()
      } while (this.#text[this.#at] === '(')
    }
    if (lists.length === 0) throw badRequest('the If field is empty')
    return lists
  }

  #list(): IfCondition[] {
    this.#expect('(')
    const conditions: IfCondition[] = []
    for (;;) {
      this.#skipSpace()
      if (this.#text[this.#at] === ')') break
      conditions.push(this.#condition())
    }
    this.#at++
    if (conditions.length === 0) throw badRequest('the If field contains an empty list')
    return conditions
  }

  #condition(): IfCondition {
    this.#conditions++
    if (this.#conditions > MAX_CONDITIONS) throw badRequest('the If field has too many conditions')
    const not = /^not(?=[\s<[])/i.test(this.#text.slice(this.#at, this.#at + 4))
    if (not) {
      this.#at += 3
      this.#skipSpace()
    }
    if (this.#text[this.#at] === '<') return { not, token: this.#angled() }
    this.#expect('[')
    const read = readEntityTag(this.#text, this.#at)
    if (read === undefined) throw badRequest('the If field contains a malformed entity tag')
    this.#at = read.end
    this.#expect(']')
    return { not, etag: read.tag }
  }

  #angled(): string {
    this.#expect('<')
    const end = this.#text.indexOf('>', this.#at)
    const value = end === -1 ? '' : this.#text.slice(this.#at, end)
    if (value === '' || /[\s<]/.test(value)) throw badRequest('the If field contains a malformed URL')
    this.#at = end + 1
    return value
  }

  #expect(char: string): void {
    if (this.#text[this.#at] !== char) throw badRequest(`the If field has no '${char}' at position ${this.#at}`)
    this.#at++
  }

  #skipSpace(): void {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at++
  }
}

/** The present state of a resource, against which conditions are evaluated. */
export interface IfState {
  /** Undefined if there is no file. */
  readonly etag: string | undefined
  /** Whether a lock with this token covers the resource. */
  hasLock(token: string): boolean
}

/** Whether all conditions are true. Entity tags are compared strongly; a token that nobody holds, such as `DAV:no-lock`, never matches. */
export function listHolds(conditions: readonly IfCondition[], state: IfState): boolean {
  return conditions.every((condition) => conditionMatches(condition, state) !== condition.not)
}

function conditionMatches({ token, etag }: IfCondition, state: IfState): boolean {
  if (token !== undefined) return state.hasLock(token)
  return etag !== undefined && !etag.weak && etag.value === state.etag
}
