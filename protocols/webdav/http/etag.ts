import type { Attr, Inode } from '../../../overlay-core/index.ts'

/**
 * The strong entity tag of a file, with its quotes: identity (key and generation), size and modification time to the
 * nanosecond. GET, PUT and `DAV:getetag` use the same one.
 */
export function etagOf(inode: Inode, attr: Attr): string {
  const { sec, nsec } = attr.mtime
  return `"${inode.key.toString(36)}-${inode.generation.toString(36)}-${attr.size.toString(36)}-${sec.toString(36)}.${nsec.toString(36)}"`
}

/** An entity tag as a client sends it. */
export interface EntityTag {
  readonly weak: boolean
  /** With its quotes. */
  readonly value: string
}

const ENTITY_TAG = /(W\/)?("[\x21\x23-\x7e\x80-\xff]*")/y

/** Reads one entity tag at `from`; undefined if there is none. @returns the tag and the index after it */
export function readEntityTag(text: string, from: number): { tag: EntityTag; end: number } | undefined {
  ENTITY_TAG.lastIndex = from
  const found = ENTITY_TAG.exec(text)
  if (found === null) return undefined
  return { tag: { weak: found[1] !== undefined, value: found[2] }, end: ENTITY_TAG.lastIndex }
}

/** The tags of an If-Match or If-None-Match field, or `*`; undefined if malformed (RFC 9110 section 13.1). */
export function parseEntityTags(field: string): '*' | EntityTag[] | undefined {
  if (field.trim() === '*') return '*'
  const tags: EntityTag[] = []
  let at = 0
  while (at < field.length) {
    const char = field[at]
    if (char === ' ' || char === '\t' || char === ',') {
      at++
      continue
    }
    const read = readEntityTag(field, at)
    if (read === undefined) return undefined
    tags.push(read.tag)
    at = read.end
    if (at < field.length && !' \t,'.includes(field[at])) return undefined
  }
  return tags.length > 0 ? tags : undefined
}
