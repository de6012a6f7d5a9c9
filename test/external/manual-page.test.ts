import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FILE_MANUAL } from '../../config/file/manual.ts'
import { TABLES } from '../../config/file/tables.ts'
import { MANUAL } from '../../config/manual.ts'
import { troffOf } from '../../config/manual-troff.ts'
import { OVERLAY_OPTIONS } from '../../config/mount-words.ts'
import { SERVE_OPTIONS } from '../../config/schema.ts'
import { top } from '../docs/manual-files.ts'

t.test(
  'what the texts hold survives troff: backslashes, hyphens, quotes, and a full stop that begins a line',
  async (t) => {
    const page = troffOf(
      [
        {
          title: 'ODD',
          blocks: [
            { kind: 'text', text: ".TH is no request, and neither is 'br" },
            { kind: 'code', lines: ["'quoted' \\ back~slash^ `tick`", '.hidden'] },
            { kind: 'text', text: '`--long-option` costs 1 µs… and *more*; see [there](#odd).' },
          ],
        },
      ],
      { page: 'ODD 1', volume: 'Tests', sources: 'nothing', version: '1', date: '2026-01-01' },
    )
    const { stdout, stderr, status } = spawnSync('groff', ['-man', '-Tutf8', '-wall', '-P-cbou'], {
      input: page,
      encoding: 'utf8',
    })
    t.equal(status, 0)
    t.equal(stderr, '')
    for (const text of [
      ".TH is no request, and neither is 'br",
      "'quoted' \\ back~slash^ `tick`",
      '.hidden',
      '--long-option costs 1 µs... and more; see there.',
    ]) {
      t.ok(stdout.includes(text), `${text}\n${stdout}`)
    }
  },
)

/** What groff makes of a page, which neither it nor mandoc may warn of. */
function checked(t: Test, page: string): string {
  const groff = spawnSync('groff', ['-man', '-Tutf8', '-wall', '-P-cbou', page], { encoding: 'utf8' })
  t.equal(groff.stderr, '', 'groff warns of nothing')
  const lint = spawnSync('mandoc', ['-Tlint', '-Wwarning', page], { encoding: 'utf8' })
  t.equal(lint.stdout, '', 'mandoc warns of nothing')
  t.equal(lint.status, 0)
  return groff.stdout
}

t.test('the manual page is valid for groff and mandoc, and shows every option', async (t) => {
  const shown = checked(t, join(top, 'docs/overlayd.1'))
  for (const { name } of [...SERVE_OPTIONS, ...OVERLAY_OPTIONS]) t.ok(shown.includes(name), name)
  for (const { title } of MANUAL) t.match(shown, new RegExp(`^${title}$`, 'm'))
})

t.test('so is that of the configuration file, with every key', async (t) => {
  const shown = checked(t, join(top, 'docs/overlayd.toml.5'))
  for (const { keys } of TABLES)
    for (const name of Object.keys(keys)) t.match(shown, new RegExp(`\\b${name}\\s+=`), name)
  for (const { title } of FILE_MANUAL) t.match(shown, new RegExp(`^${title}$`, 'm'))
})

t.test('the files that man(1) is given belong to the package', async (t) => {
  const { man, files } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as Record<string, unknown>
  t.same(man, ['./docs/overlayd.1', './docs/overlayd.toml.5'])
  t.ok((files as string[]).includes('docs'))
  t.match(
    execFileSync('man', ['-l', '-Tutf8', join(top, 'docs/overlayd.1')], { encoding: 'utf8' }),
    /overlayd\.?\(1\)|OVERLAYD\(1\)/i,
  )
})
