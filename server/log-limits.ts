/** How often one message is written within a window. */
const MOST_ALIKE = 20
const MOST_ALIKE_DEBUG = 500
/** The number of different messages counted separately within one window; all further ones are counted together. */
const MOST_MESSAGES = 100
const KEY_CHARS = 100
const INFO = 30
const FATAL = 60

/** Lines up to this length are written unchanged, because no text in them can be long. */
const SHORT_LINE = 400
const TEXT_CHARS = 300
/** Extra length for the appended original length, so that a cut text is not cut again. */
const ROOM_FOR_LENGTH = 40
const STACK_LINES = 12
const LINE_CHARS = 8_192
const MOST_ENTRIES = 32
const MOST_DEPTH = 5

/** A message that appeared more often than it was written. */
export interface Repeated {
  readonly level: number
  readonly message: string
  readonly more: number
}

/**
 * Lets a message pass a limited number of times within a window and counts the rest, so that nobody can fill a disk through the log. Memory use is
 * bounded, whatever the messages say.
 */
export class RepeatLimit {
  #seen = new Map<string, { level: number; message: string; count: number }>()

  /** Whether to write a message at `level` now. Fatal messages are always written. */
  passes(level: number, message: string): boolean {
    if (level >= FATAL) return true
    const most = level < INFO ? MOST_ALIKE_DEBUG : MOST_ALIKE
    const known = this.#entry(level, message)
    known.count++
    return known.count <= most
  }

  #entry(level: number, message: string): { level: number; message: string; count: number } {
    const key = `${level} ${message.slice(0, KEY_CHARS)}`
    const known = this.#seen.get(key)
    if (known !== undefined) return known
    const shared = this.#seen.size >= MOST_MESSAGES
    if (shared) message = 'messages of other kinds'
    const sharedKey = shared ? `${level} ${message}` : key
    const entry = this.#seen.get(sharedKey) ?? { level, message: owned(message.slice(0, KEY_CHARS)), count: 0 }
    this.#seen.set(shared ? sharedKey : owned(key), entry)
    return entry
  }

  /** Ends the window and returns the messages that were not written in it. */
  sweep(): Repeated[] {
    const ended = this.#seen
    this.#seen = new Map()
    return [...ended.values()].flatMap(({ level, message, count }) => {
      const more = count - (level < INFO ? MOST_ALIKE_DEBUG : MOST_ALIKE)
      return more > 0 ? [{ level, message, more }] : []
    })
  }
}

/** A copy that does not keep the longer original alive. */
function owned(text: string): string {
  return Buffer.from(text).toString()
}

/** The text of a log call: its message, or the message of its error. */
export function messageOf(args: readonly unknown[]): string {
  for (const arg of args) if (typeof arg === 'string') return arg
  const [first] = args
  return first instanceof Error ? first.message : ''
}

/** Shortens every text in a log line, because any of them may come from a client. */
export function cutLine(line: string): string {
  if (line.length <= SHORT_LINE) return line
  const record = cut(JSON.parse(line), 0) as { level?: unknown; time?: unknown; msg?: unknown }
  const text = JSON.stringify(record)
  if (text.length <= LINE_CHARS) return `${text}\n`
  const { level, time, msg } = record
  return `${JSON.stringify({ level, time, msg, cut: text.length })}\n`
}

/** Shortens the texts in the fields of a line. Errors, requests and other objects are shortened after serialization, see `cutLine`. */
export function cutFields(fields: Record<string, unknown>): Record<string, unknown> {
  return isPlain(fields) ? (cut(fields, 0) as Record<string, unknown>) : fields
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Array.isArray(value)
}

function cut(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cutText(value, TEXT_CHARS)
  if (typeof value !== 'object' || value === null || !isPlain(value)) return value
  if (depth === MOST_DEPTH) return '…'
  if (Array.isArray(value)) return value.slice(0, MOST_ENTRIES).map((each) => cut(each, depth + 1))
  const entries = Object.entries(value).slice(0, MOST_ENTRIES)
  return Object.fromEntries(
    entries.map(([name, each]) => {
      const kept = name === 'stack' && typeof each === 'string' ? cutStack(each) : cut(each, depth + 1)
      return [cutText(name, TEXT_CHARS), kept]
    }),
  )
}

/** Shortens a stack, which starts with the error message and may be long. */
function cutStack(stack: string): string {
  const lines = stack.split('\n', STACK_LINES)
  return lines.map((line) => cutText(line, TEXT_CHARS)).join('\n')
}

function cutText(text: string, most: number): string {
  return text.length <= most + ROOM_FOR_LENGTH ? text : `${text.slice(0, most)}… (${text.length} characters)`
}
