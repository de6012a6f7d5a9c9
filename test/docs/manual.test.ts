import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { helpText } from '../../config/help.ts'
import { type ManualOption, summaryOf } from '../../config/manual-option.ts'
import { EXPORT_OPTIONS, OVERLAY_OPTIONS } from '../../config/mount-words.ts'
import { REMOUNT_OPTIONS, SERVE_OPTIONS, STATUS_OPTIONS } from '../../config/schema.ts'
import { OPTION_NAMES } from '../../overlay-core/api/params.ts'
import { parseOptions } from '../../overlay-core/index.ts'
import { parseExport } from '../../protocols/nfs/exports/export-rules.ts'
import { manualFiles, top } from './manual-files.ts'

t.test(
  'docs/cli.md and the manual page say what the tables of options say: npm run docs writes them anew',
  async (t) => {
    const files = manualFiles()
    t.equal(files.size, 2)
    for (const [path, text] of files) t.equal(readFileSync(join(top, path), 'utf8'), text, path)
  },
)

t.test('every option has a summary of one line', async (t) => {
  const options: readonly ManualOption[] = [
    ...[...SERVE_OPTIONS, ...STATUS_OPTIONS, ...REMOUNT_OPTIONS],
    ...[...OVERLAY_OPTIONS, ...EXPORT_OPTIONS],
  ]
  t.ok(options.length > 50)
  for (const option of options) {
    const summary = summaryOf(option)
    t.ok(summary.length > 5 && summary.length <= 120, `${option.name}: ${summary}`)
    t.match(option.meaning, /\.$/, `${option.name} ends with a full stop`)
  }
})

t.test('links inside the manual lead to its sections', async (t) => {
  const page = manualFiles().get('docs/cli.md') as string
  const anchors = [...page.matchAll(/^##+ (.*)$/gm)].map(([, title]) => title?.toLowerCase().replaceAll(' ', '-'))
  const links = [...page.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor)
  t.ok(links.length > 3)
  for (const link of links) t.ok(anchors.includes(link), link)
})

t.test('the manual knows every option that -o and --export understand, and no other', async (t) => {
  t.same(OVERLAY_OPTIONS.map(({ name }) => name).sort(), [...OPTION_NAMES].sort())
  const context = { cwd: '/', privileged: true }
  for (const { name, value } of OVERLAY_OPTIONS) {
    const word = value === undefined ? name : `${name}=${value.replace(/[|[].*/, '').replace('DIR', '/d')}`
    const others = /^(lowerdir|ro|rw)/.test(name) ? '' : 'upperdir=/u,workdir=/w,'
    t.doesNotThrow(() => parseOptions(`${name === 'lowerdir' ? '' : 'lowerdir=/l,'}${others}${word}`, context), word)
  }
  for (const { name, value } of EXPORT_OPTIONS) {
    const word = value === undefined ? name : `${name}=7`
    t.doesNotThrow(() => parseExport(`*(${word})`), word)
  }
  const said = (error: unknown) => (error as Error).message
  try {
    parseExport('*(nonsense)')
    t.fail('nonsense is an option of an export')
  } catch (error) {
    const valid = said(error).split('use one of ')[1]?.split(', ') ?? []
    t.ok(valid.length > 8)
    for (const word of valid) {
      const name = word.replace(/=.*/, '')
      if (name !== 'no_all_squash')
        t.ok(
          EXPORT_OPTIONS.some((option) => option.name === name),
          word,
        )
    }
  }
})

t.test('the summary of --help fits on two screens of a terminal', async (t) => {
  const lines = helpText().split('\n')
  t.ok(lines.length <= 60, `${lines.length} lines`)
  t.same(
    lines.filter((line) => line.length > 100),
    [],
  )
})
