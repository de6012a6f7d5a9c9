import { parse } from 'smol-toml'
import t from 'tap'
import { type Mark, marksOf } from '../../config/file/marks.ts'
import { formatProblem } from '../../config/file/problems.ts'
import { readConfig } from '../../config/file/read-config.ts'
import { TABLES } from '../../config/file/tables.ts'

/** What is in a document, by the library or by the marks: the names of its keys and the lengths of its lists. */
type Shape = { readonly [key: string]: Shape } | readonly Shape[] | null

function shapeOf(value: unknown): Shape {
  if (Array.isArray(value)) return value.map(shapeOf)
  if (typeof value !== 'object' || value === null || value instanceof Date) return null
  const entries = Object.entries(value).map(([key, each]) => [key, shapeOf(each)] as const)
  return entries.length === 0 ? null : Object.fromEntries(entries)
}

function shapeOfMark({ entries, items }: Mark): Shape {
  if (items.length > 0) return items.map(shapeOfMark)
  return entries.size === 0 ? null : Object.fromEntries([...entries].map(([key, mark]) => [key, shapeOfMark(mark)]))
}

/** Empty lists and tables look like values. */
function withoutEmpty(shape: Shape): Shape {
  if (Array.isArray(shape)) return shape.length === 0 ? null : shape.map(withoutEmpty)
  return shape === null
    ? null
    : Object.fromEntries(Object.entries(shape).map(([key, each]) => [key, withoutEmpty(each)]))
}

t.test('every key and value of a document is found where it stands', async (t) => {
  const text = [
    '\ufeffa = 1 # ] } "',
    'b."c.d" = [ "x]", \'y"\', # ] ',
    '  { e = 1979-05-27 07:32:00, f.g = """q"]"""" } ]',
    '[h.i]',
    'j = """',
    'k = 1 \\"""',
    '"""',
    '[[l]]',
    'm = 1',
    '[l.n]',
    'o = [[1, 2], []]',
    '[[l]]',
    "m = '''it''s'''''",
    '"\\u0070" = true',
    '[h]',
    "q = {'r' = {}}",
  ].join('\r\n')
  const marks = marksOf(text)
  t.same(shapeOfMark(marks), withoutEmpty(shapeOf(parse(text))))
  const at = (offset: number | undefined, length: number) => text.slice(offset, (offset ?? 0) + length)
  const l = marks.entries.get('l')?.items
  t.equal(at(marks.entries.get('b')?.entries.get('c.d')?.at, 5), '"c.d"')
  t.equal(at(marks.entries.get('b')?.entries.get('c.d')?.items[1]?.at, 4), "'y\"'")
  t.equal(at(l?.[0]?.entries.get('n')?.entries.get('o')?.items[0]?.items[1]?.at, 2), '2]')
  t.equal(at(l?.[1]?.entries.get('m')?.valueAt, 5), "'''it")
  t.equal(at(l?.[1]?.entries.get('p')?.at, 8), '"\\u0070"')
  t.equal(at(marks.entries.get('h')?.entries.get('q')?.entries.get('r')?.valueAt, 2), '{}')
})

/** Numbers that look random and are the same in every run (mulberry32). */
function numbers(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const WORDS = TABLES.flatMap(({ name, keys }) => [name, ...Object.keys(keys)])
const PIECES = [
  ...[
    '\n',
    '\n',
    ' = ',
    ' = ',
    '[',
    ']',
    '[[',
    ']]',
    '{',
    '}',
    '.',
    ',',
    '"',
    "'",
    '"""',
    "'''",
    '#',
    '\\',
    '\r\n',
    ' ',
  ],
  ...[
    '"x"',
    '7',
    '-1',
    '1e9',
    'true',
    '1979-05-27',
    '["a", "b"]',
    '{ a = 1 }',
    `"\${HOME}"`,
    `"\${`,
    '\0',
    'ü',
    '__proto__',
  ],
  ...['"shared"', '"nfs"', '"/srv"', '"off"', '[layers.a]', '[stacks.b]', '[views.c]', '[exports.d]', 'constructor'],
]

t.test('no text makes the reading crash, and of every valid one all places are found', async (t) => {
  const random = numbers(7)
  const pick = <Each>(list: readonly Each[]) => list[Math.floor(random() * list.length)] as Each
  const environment = { cwd: '/', uid: 0, defaultStateDir: '/s', variables: { HOME: '/h' } }
  const context = { name: 'c', path: '/c', environment, overrides: new Map(), exportError: () => undefined }
  let valid = 0
  for (let round = 0; round < 4000; round++) {
    const length = 1 + Math.floor(random() * 16)
    const line = () => `${pick(WORDS)} = ${pick(PIECES.slice(20, 30))}\n`
    const text = Array.from({ length }, () =>
      random() < 0.4 ? line() : random() < 0.5 ? pick(WORDS) : pick(PIECES),
    ).join('')
    const { problems, settings } = readConfig(text, context)
    const found = problems.list()
    if (found.length === 0 && settings === undefined) t.fail(`no reason: ${text}`)
    const lines = text.split('\n').length
    for (const problem of found) {
      if (problem.line > lines || problem.column < 1 || /[\n\0]/.test(formatProblem(problem)))
        t.fail(formatProblem(problem))
    }
    const parsed = parsedOf(text)
    if (parsed === undefined) continue
    valid++
    if (JSON.stringify(shapeOfMark(marksOf(text))) !== JSON.stringify(withoutEmpty(shapeOf(parsed)))) t.fail(text)
  }
  t.ok(valid > 200, `${valid} valid texts`)
})

function parsedOf(text: string): object | undefined {
  try {
    return parse(text)
  } catch {
    return undefined
  }
}

t.test('a file that is deep or long is refused or read in time', async (t) => {
  const environment = { cwd: '/', uid: 0, defaultStateDir: '/s' }
  const context = { name: 'c', path: '/c', environment, overrides: new Map(), exportError: () => undefined }
  const first = (text: string) => readConfig(text, context).problems.list()[0]?.message
  t.match(first(`x = ${'['.repeat(50_000)}`), /this is not TOML: .*nested/)
  t.match(first(`x${'.x'.repeat(5_000)} = 1`), /unknown/)
  const many = Array.from({ length: 2_000 }, (_, i) => `[layers.l${i}]\npath = "/srv/${i}"\n`).join('')
  t.match(first(many), /there is no view/)
})
