import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { OVERLAY_OPTIONS, REMOUNT_OPTIONS, SERVE_OPTIONS, STATUS_OPTIONS, type WordSpec } from '../config/schema.ts'

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

t.test('the manual has every option and its default', async (t) => {
  const manual = read('docs/cli.md')
  const specs: readonly WordSpec[] = [...SERVE_OPTIONS, ...STATUS_OPTIONS, ...REMOUNT_OPTIONS, ...OVERLAY_OPTIONS]
  for (const spec of specs) {
    const name = spec.name.replace(/=.*/, '')
    t.ok(manual.includes(spec.name.startsWith('-') ? name : `\`${name}`), name)
    if (/^[\d[]/.test(spec.default ?? '')) t.ok(manual.includes(`\`${spec.default}\``), `the default of ${name}`)
  }
})

t.test('links between pages lead somewhere', async (t) => {
  t.ok(pages.length > 10)
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      t.ok(existsSync(join(top, dirname(page), target!)), `${page} → ${target}`)
    }
  }
})

t.test('sources and folders that the pages name exist', async (t) => {
  for (const page of ['README.md', 'CONTRIBUTING.md', 'docs/architecture.md']) {
    for (const [, path] of read(page).matchAll(
      /`((?:server|config|overlay-core|protocols|test|deploy|docs)\/[\w./-]*)`/g,
    )) {
      t.ok(existsSync(join(top, path!)), `${page}: ${path}`)
    }
  }
})
