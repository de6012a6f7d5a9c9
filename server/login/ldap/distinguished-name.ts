/** The attributes of one step of a name, mostly one: `cn=staff`. Types are in lower case. */
export type NameStep = readonly { readonly type: string; readonly value: string }[]

/** Parses a distinguished name, the leaf first (RFC 4514 section 3); undefined if it is none. */
export function parseName(text: string): readonly NameStep[] | undefined {
  if (text.trim() === '') return []
  const steps: { type: string; value: string }[][] = [[]]
  let at = 0
  for (;;) {
    const type = /^\s*([A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)*)\s*=/.exec(text.slice(at))
    if (type === null) return undefined
    at += type[0].length
    const value = readValue(text, at)
    if (value === undefined) return undefined
    steps.at(-1)!.push({ type: (type[1] as string).toLowerCase(), value: value.text })
    at = value.end
    if (at === text.length) return steps
    if (text[at] !== '+') steps.push([])
    at++
  }
}

/** Reads a value up to the next separator outside escapes. Values in hexadecimal BER stay as they are. */
function readValue(text: string, start: number): { readonly text: string; readonly end: number } | undefined {
  const bytes: number[] = []
  let at = start
  while (text[at] === ' ') at++
  /** The length up to which spaces belong to the value. */
  let kept = 0
  while (at < text.length && !',;+'.includes(text[at] as string)) {
    const char = String.fromCodePoint(text.codePointAt(at) as number)
    if (char === '\\') {
      const pair = /^[0-9A-Fa-f]{2}/.exec(text.slice(at + 1))?.[0]
      const single = /^[ "#+,;<=>\\]/.exec(text.slice(at + 1))?.[0]
      if (pair !== undefined) bytes.push(Number.parseInt(pair, 16))
      else if (single !== undefined) bytes.push(...Buffer.from(single))
      else return undefined
      at += 1 + (pair ?? (single as string)).length
      kept = bytes.length
      continue
    }
    if ('"<>\0'.includes(char)) return undefined
    bytes.push(...Buffer.from(char))
    at += char.length
    if (char !== ' ') kept = bytes.length
  }
  return { text: Buffer.from(bytes.slice(0, kept)).toString('utf8'), end: at }
}

/** Whether a name is that of an object below `base`. Letters count alike in both cases, and runs of spaces as one. */
export function isBelow(name: readonly NameStep[], base: readonly NameStep[]): boolean {
  const rest = name.length - base.length
  return rest > 0 && base.every((step, at) => textOf(step) === textOf(name[rest + at] as NameStep))
}

/** The same text for steps that are alike. */
function textOf(step: NameStep): string {
  const folded = ({ type, value }: NameStep[number]) => [
    type,
    value.normalize('NFKC').toLowerCase().replace(/ +/g, ' '),
  ]
  return JSON.stringify(step.map(folded).sort())
}
