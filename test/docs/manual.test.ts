import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { parse } from 'smol-toml'
import t from 'tap'
import { type Keys, wordOf } from '../../config/file/key.ts'
import { FILE_MANUAL } from '../../config/file/manual.ts'
import { TABLES } from '../../config/file/tables.ts'
import { helpText } from '../../config/help.ts'
import { type ManualOption, summaryOf } from '../../config/manual-option.ts'
import { EXPORT_OPTIONS, OVERLAY_OPTIONS } from '../../config/mount-words.ts'
import { type OptionSpec, PRINT_OPTIONS, REMOUNT_OPTIONS, SERVE_OPTIONS, STATUS_OPTIONS } from '../../config/schema.ts'
import { OPTION_NAMES } from '../../overlay-core/api/params.ts'
import { parseOptions } from '../../overlay-core/index.ts'
import { parseExport } from '../../protocols/nfs/exports/export-rules.ts'
import { manualFiles, top } from './manual-files.ts'

t.test('the manual pages and the JSON schema say what the tables say: npm run docs writes them anew', async (t) => {
  const files = manualFiles()
  t.equal(files.size, 9)
  for (const [path, text] of files) t.equal(readFileSync(join(top, path), 'utf8'), text, path)
})

t.test('every option has a summary of one line', async (t) => {
  const options: readonly ManualOption[] = [
    ...[...SERVE_OPTIONS, ...STATUS_OPTIONS, ...REMOUNT_OPTIONS, ...PRINT_OPTIONS],
    ...TABLES.flatMap(({ keys }) => Object.entries(keys).map(([name, key]) => wordOf(name, key))),
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
  const anchorsOf = (page: string) =>
    [...page.matchAll(/^##+ (.*)$/gm)].map(([, title]) => title?.toLowerCase().replaceAll(' ', '-'))
  const cli = manualFiles().get('docs/cli.md') as string
  const config = manualFiles().get('docs/config.md') as string
  const links = [...cli.matchAll(/\]\((?:cli\.md)?#([^)]+)\)/g)].map(([, anchor]) => anchor)
  t.ok(links.length > 3)
  for (const link of links) t.ok(anchorsOf(cli).includes(link), link)
  const fileLinks = [...config.matchAll(/\]\((cli\.md)?#([^)]+)\)/g)]
  t.ok(fileLinks.length > 2)
  for (const [, page, link] of fileLinks) t.ok(anchorsOf(page === undefined ? config : cli).includes(link), link)
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
    const word = value === undefined ? name : `${name}=${name === 'xprtsec' ? 'none:mtls' : '7'}`
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

t.test('the configuration file says all that the command line says, with the same defaults', async (t) => {
  const keys = TABLES.flatMap((table) => Object.values(table.keys as Keys))
  const byOption = new Map(keys.flatMap((key) => (key.option === undefined ? [] : [[key.option, key] as const])))
  const elsewhere = ['-o', '--sample', '--help', '--version']
  for (const option of SERVE_OPTIONS as readonly OptionSpec[]) {
    if (elsewhere.includes(option.name)) continue
    const key = byOption.get(option.name)
    t.ok(key, option.name)
    if (option.default !== undefined) t.equal(key?.default?.replaceAll('"', ''), option.default, option.name)
  }
  // Layers are named; these are said in other words or change nothing.
  const others = ['lowerdir+', 'rw', 'volatile', 'nfs_export', 'verity']
  for (const { name, default: literal } of OVERLAY_OPTIONS) {
    if (others.includes(name)) continue
    const key = byOption.get(`-o ${name}`)
    t.ok(key, name)
    if (literal !== undefined) t.equal(key?.default, `"${literal}"`, name)
  }
})

t.test('the JSON schema takes the example of the manual, and every key with its default', async (t) => {
  const schema = JSON.parse(manualFiles().get('deploy/overlayd.schema.json') as string)
  const example = FILE_MANUAL.find(({ title }) => title === 'EXAMPLE')?.blocks.find(({ kind }) => kind === 'code')
  if (example?.kind !== 'code') throw new Error('there is no example')
  const ajv = new Ajv({ strict: true, allowUnionTypes: true })
  const validate = ajv.compile(schema)
  t.ok(validate(parse(example.lines.join('\n'))), JSON.stringify(validate.errors))
  t.notOk(validate(parse('[views.a]\nstak = "x"')), 'an unknown key')
  t.notOk(validate(parse('[views."a/b"]\nstack = "x"')), 'a name that cannot be one')
  t.notOk(validate(parse('[nfs]\nlock_grace = "1"')), 'a text without a variable is no number')
  t.ok(validate(parse(`[nfs]\nlock_grace = "\${GRACE}"`)), 'with one it may be')
})

t.test('the summary of --help fits on three screens of a terminal', async (t) => {
  const lines = helpText().split('\n')
  t.ok(lines.length <= 75, `${lines.length} lines`)
  t.same(
    lines.filter((line) => line.length > 100),
    [],
  )
})
