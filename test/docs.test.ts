import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ATTACKS } from './hostile/all.ts'

const top = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(top, path), 'utf8')

/** Every page of documentation, by its path from the top. */
const pages = [
  ...readdirSync(top).filter((name) => name.endsWith('.md')),
  ...['docs', 'deploy', 'overlay-core'].flatMap((folder) =>
    readdirSync(join(top, folder), { recursive: true })
      .map((name) => join(folder, String(name)))
      .filter((name) => name.endsWith('.md')),
  ),
]

t.test('links between pages lead somewhere', async (t) => {
  t.ok(pages.length > 10)
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      t.ok(existsSync(join(top, dirname(page), target!)), `${page} → ${target}`)
    }
  }
})

t.test('sources and folders that the pages name exist', async (t) => {
  for (const page of ['README.md', 'CONTRIBUTING.md', 'docs/architecture.md', 'docs/security.md']) {
    for (const [, path] of read(page).matchAll(
      /`((?:server|config|overlay-core|protocols|test|deploy|docs)\/[\w./-]*)`/g,
    )) {
      t.ok(existsSync(join(top, path!)), `${page}: ${path}`)
    }
  }
})

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
  const text = read('overlay-core/RULES.md')
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
      const titles = titlesIn(read(join('overlay-core', path)))
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

t.test('docs/security.md names every attack of test:hostile, and no others', async (t) => {
  const text = read('docs/security.md')
  const named = new Set([...text.matchAll(/`([a-z0-9]+(?:-[a-z0-9]+)+)`/g)].map(([, name]) => name))
  t.same([...named].sort(), ATTACKS.map(({ name }) => name).sort())
})
