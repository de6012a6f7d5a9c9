import { parse } from 'smol-toml'

/** Where a key, or an item of a list, stands in the text, and what is inside its value. Offsets count UTF-16 units. */
export interface Mark {
  /** Offset of the key; of the value where there is no key. */
  at: number
  /** Offset of the value; of the key where the value is a table with a header. */
  valueAt: number
  readonly entries: Map<string, Mark>
  readonly items: Mark[]
}

interface KeyPart {
  readonly name: string
  readonly at: number
}

/**
 * Finds where everything in a TOML document begins, as the parser does not tell. `text` must be valid: whatever was parsed without
 * an error.
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

  /** `[a.b]` or `[[a.b]]`: the table that the pairs after it belong to. */
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

  /** A key with its dots; leaves off behind it. */
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

  /** What stands between here and `end`, with commas between. */
  #members(end: string, take: () => void): void {
    this.#at++
    for (this.#skip(SEPARATORS); this.#text[this.#at] !== end; this.#skip(SEPARATORS)) take()
    this.#at++
  }

  /** Passes over what `pattern` matches here and returns it. */
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
/** Numbers, dates (which may hold a blank) and words. */
const OTHER = /[^,\]}#\r\n]+/y

/** The name that a quoted key stands for. */
function keyOf(quoted: string): string {
  return Object.keys(parse(`${quoted} = 0`))[0] as string
}

function descendAll(from: Mark, keys: readonly KeyPart[]): Mark {
  return keys.reduce(descend, from)
}

/** The mark of a key; of a list of tables that it is in, the last one is meant. */
function descend(table: Mark, { name, at }: KeyPart): Mark {
  const inside = table.items.at(-1) ?? table
  const known = inside.entries.get(name)
  if (known !== undefined) return known
  const mark = newMark(at)
  inside.entries.set(name, mark)
  return mark
}
