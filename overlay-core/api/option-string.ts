/** The text syntax of mount options: commas separate options, colons separate layers, and a backslash escapes either. */

/** One `name=value` of an option string; `value` is undefined for a bare word. Backslashes in the value are kept. */
export interface RawOption {
  readonly name: string
  readonly value: string | undefined
}

/** One layer of a `lowerdir=` list, unescaped; `data` when it came after `::`. */
export interface RawLower {
  readonly path: string
  readonly data: boolean
}

/** Splits at every unescaped `separator` and keeps backslashes. */
function splitUnescaped(text: string, separator: string): string[] {
  const parts: string[] = []
  let start = 0
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === separator) {
      parts.push(text.slice(start, at))
      start = at + 1
    }
  }
  parts.push(text.slice(start))
  return parts
}

/** Removes one level of backslashes: `\:` `\,` `\\` and any other `\x` become the bare character (ovl_unescape in params.c). */
export function unescaped(text: string): string {
  return text.replace(/\\(.)/gs, '$1')
}

/** Splits the string of `-o` into its options. Empty parts (`a,,b`) are skipped, as the kernel does. */
export function splitOptions(text: string): RawOption[] {
  const options: RawOption[] = []
  for (const part of splitUnescaped(text, ',')) {
    if (part === '') continue
    const equals = part.indexOf('=')
    options.push(
      equals < 0 ? { name: part, value: undefined } : { name: part.slice(0, equals), value: part.slice(equals + 1) },
    )
  }
  return options
}

/**
 * Splits a `lowerdir=` value: `a:b` are layers, topmost first, and layers after `::` are data-only.
 * Returns an error text if the list is malformed (ovl_parse_param_split_lowerdirs in params.c).
 */
export function splitLowers(value: string): RawLower[] | string {
  const parts = splitUnescaped(value, ':')
  if (parts[0] === '') return 'starts with a colon; use lowerdir+=DIR to add a layer'
  const lowers: RawLower[] = []
  let afterEmpty = false
  for (const [at, part] of parts.entries()) {
    if (part === '') {
      if (at === parts.length - 1) return 'ends with a colon; add a directory after it, or remove it'
      if (afterEmpty) return 'has three colons in a row; use one between layers, and two before data-only layers'
      afterEmpty = true
      continue
    }
    if (!afterEmpty && lowers.at(-1)?.data) {
      return 'has a regular layer after a data-only layer; put regular layers first, and :: before each data-only one'
    }
    lowers.push({ path: unescaped(part), data: afterEmpty })
    afterEmpty = false
  }
  return lowers
}
