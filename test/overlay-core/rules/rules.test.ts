import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const page = new URL('../../../overlay-core/RULES.md', import.meta.url)

/** The titles of the tests in a source: literal, or a pattern where the title has parts that are computed. */
function titlesIn(source: string): RegExp[] {
  const titles: RegExp[] = []
  for (const [, quote, title = ''] of source.matchAll(/t\.test\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g)) {
    const parts = quote === '`' ? title.split(/\$\{[^}]*\}/) : [title]
    const literal = parts.map((part) => part.replace(/\\(.)/g, '$1').replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
    titles.push(new RegExp(`^${literal.join('.+')}$`))
  }
  return titles
}

t.test('every rule names its tests, and every test that it names exists', async (t) => {
  const text = readFileSync(page, 'utf8')
  const rows = text.split('\n').filter((line) => /^\| (?!rule |-)/.test(line))
  t.ok(rows.length > 50, `${rows.length} rules`)
  const missing: string[] = []
  let named = 0
  for (const row of rows) {
    const links = [...row.matchAll(/\[((?:\\.|[^\]\\])+)\]\(([^)]+)\)/g)]
    if (links.length === 0) missing.push(`no test: ${row}`)
    for (const [, title = '', path = ''] of links) {
      named++
      const plain = title.replace(/\\(.)/g, '$1')
      const titles = titlesIn(readFileSync(fileURLToPath(new URL(path, page)), 'utf8'))
      if (!titles.some((pattern) => pattern.test(plain))) missing.push(`${path}: ${plain}`)
    }
  }
  t.same(missing, [], `${named} tests`)
})

t.test('a title that no test has is found missing', (t) => {
  const titles = titlesIn(`t.test('one (1)', x)\nt.test(\n  \`many \${kinds} of them\`, x)`)
  const known = (title: string) => titles.some((pattern) => pattern.test(title))
  t.same(['one (1)', 'one', 'many odd of them', 'many of them', 'one (1) '].map(known), [
    true,
    false,
    true,
    false,
    false,
  ])
  t.end()
})
