import { parse } from 'smol-toml'

/** The position of a key or list item in the text, with the positions inside its value. Offsets count UTF-16 units. */
export interface Mark {
  /** The offset of the key, or of the value if there is no key. */
  at: number
  /** The offset of the value, or of the key if the value is a table with a header. */
  valueAt: number
  readonly entries: Map<string, Mark>
  readonly items: Mark[]
}

interface KeyPart {
  readonly name: string
  readonly at: number
}

/**
 * Finds the positions of all keys and values in a TOML document, because the parser does not report them. `text` must be valid, which means that it
 * was parsed without an error.
 */
export function marksOf(text: string): Mark {
  return new Scanner(text).scan()
}

function newMark(at: number): Mark {
  return { at, valueAt: at, entries: new Map(), items: [] }
}

class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  scan(): Mark {
    const root = newMark(0)
    let table = root
    for (this.#skip(VOID); this.#at < this.#text.length; this.#skip(VOID)) {
      if (this.#text[this.#at] === '[') table = this.#header(root)
      else this.#pair(table)
    }
    return root
  }

  /** Reads `[a.b]` or `[[a.b]]` and returns the table to which the following pairs belong. */
  #header(root: Mark): Mark {
    const brackets = this.#text.startsWith('[[', this.#at) ? 2 : 1
    this.#at += brackets
    const keys = this.#keys()
    this.#at += brackets
    const last = keys.pop() as KeyPart
    const mark = descend(descendAll(root, keys), last)
    if (brackets === 1) return mark
    const item = newMark(last.at)
    mark.items.push(item)
    return item
  }

  #pair(table: Mark): void {
    const keys = this.#keys()
    this.#at++
    this.#skip(BLANKS)
    const last = keys.pop() as KeyPart
    const mark = descend(descendAll(table, keys), last)
    mark.valueAt = this.#at
    this.#value(mark)
  }

  /** Reads a dotted key and stops after it. */
  #keys(): KeyPart[] {
    const keys: KeyPart[] = []
    for (;;) {
      this.#skip(BLANKS)
      const at = this.#at
      const quote = this.#text[at]
      const quoted = quote === '"' || quote === "'"
      const raw = this.#skip(quote === '"' ? BASIC : quote === "'" ? LITERAL : BARE)
      keys.push({ name: quoted ? keyOf(raw) : raw, at })
      this.#skip(BLANKS)
      if (this.#text[this.#at] !== '.') return keys
      this.#at++
    }
  }

  #value(mark: Mark): void {
    const { [this.#at]: first } = this.#text
    if (first === '[') this.#list(mark)
    else if (first === '{') this.#inlineTable(mark)
    else if (first === '"') this.#skip(this.#text.startsWith('"""', this.#at) ? LONG_BASIC : BASIC)
    else if (first === "'") this.#skip(this.#text.startsWith("'''", this.#at) ? LONG_LITERAL : LITERAL)
    else this.#skip(OTHER)
  }

  #list(mark: Mark): void {
    this.#members(']', () => {
      const item = newMark(this.#at)
      mark.items.push(item)
      this.#value(item)
    })
  }

  #inlineTable(mark: Mark): void {
    this.#members('}', () => this.#pair(mark))
  }

  /** Reads the comma-separated items up to `end`. */
  #members(end: string, take: () => void): void {
    this.#at++
    for (this.#skip(SEPARATORS); this.#text[this.#at] !== end; this.#skip(SEPARATORS)) take()
    this.#at++
  }

  /** Skips the text that `pattern` matches at the present position, and returns it. */
  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0] ?? ''
    this.#at += found.length
    return found
  }
}

const BLANKS = /[ \t]*/y
const VOID = /(?:[\ufeff \t\r\n]|#[^\n]*)*/y
const SEPARATORS = /(?:[, \t\r\n]|#[^\n]*)*/y
const BARE = /[A-Za-z0-9_-]+/y
const BASIC = /"(?:[^"\\]|\\.)*"/y
const LITERAL = /'[^']*'/y
const LONG_BASIC = /"""(?:[^\\]|\\[\s\S])*?"{3,5}/y
const LONG_LITERAL = /'''[\s\S]*?'{3,5}/y
/** Matches numbers, dates (which may contain a blank) and words. */
const OTHER = /[^,\]}#\r\n]+/y

/** The name in a quoted key. */
function keyOf(quoted: string): string {
  return Object.keys(parse(`${quoted} = 0`))[0] as string
}

function descendAll(from: Mark, keys: readonly KeyPart[]): Mark {
  return keys.reduce(descend, from)
}

/** The mark of a key in `table`; if `table` is a list of tables, in the last one. */
function descend(table: Mark, { name, at }: KeyPart): Mark {
  const inside = table.items.at(-1) ?? table
  const known = inside.entries.get(name)
  if (known !== undefined) return known
  const mark = newMark(at)
  inside.entries.set(name, mark)
  return mark
}
