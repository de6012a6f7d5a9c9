import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { FileType, type Overlay } from '../../../overlay-core/index.ts'
import { at, list, ROOT, withOverlay } from '../../helpers/overlay.ts'

t.setTimeout(120_000)
const skip = process.getuid?.() === 0 ? false : 'needs root'

/** Marks that no overlay writes, as hexadecimal digits: of directories, and of files. */
const REDIRECTS: readonly string[] = [
  '',
  '2f',
  '00',
  '612f62',
  '2e2e',
  '2f2e2e2f65',
  '78'.repeat(257),
  '2f78'.repeat(300),
  'ff'.repeat(1200),
]
const OTHERS: readonly [string, string][] = [
  ['opaque', '00ff'],
  ['origin', '00'],
  ['origin', `00fb${'ff'.repeat(200)}`],
  ['impure', 'ffff'],
  ['uuid', '01'],
  ['identity', 'ff'],
  ['metacopy', 'ff'.repeat(300)],
  ['whiteout', ''],
]

/** Directories and files, each with one malformed mark. */
function tree(): Record<string, string> {
  const all: Record<string, string> = { 'd/good/x': '', 'd/plain': 'content' }
  REDIRECTS.forEach((_, i) => {
    all[`d/dir${i}/x`] = ''
    all[`d/meta${i}`] = 'x'
  })
  OTHERS.forEach((_, i) => {
    all[`d/other${i}/x`] = ''
    all[`d/file${i}`] = 'x'
  })
  return all
}

function spoil(top: string): void {
  const marks: [path: string, name: string, hex: string][] = []
  REDIRECTS.forEach((hex, i) => {
    marks.push([`dir${i}`, 'redirect', hex], [`meta${i}`, 'metacopy', ''], [`meta${i}`, 'redirect', hex])
  })
  OTHERS.forEach(([name, hex], i) => {
    marks.push([`other${i}`, name, hex], [`file${i}`, name, hex])
  })
  const dump = marks.map(
    ([path, name, hex]) =>
      `# file: ${join(top, 'd', path)}\ntrusted.overlay.${name}=${hex === '' ? '""' : `0x${hex}`}\n\n`,
  )
  execFileSync('setfattr', ['--restore=-'], { input: dump.join('') })
}

/** What the listing with attributes has: all names, and those that have attributes. */
async function listPlus(overlay: Overlay): Promise<{ names: string[]; reached: string[] }> {
  const names: string[] = []
  const reached: string[] = []
  await overlay.readdirPlus(ROOT, await at(overlay, 'd'), 0, ({ name, attr }) => {
    names.push(name)
    if (attr !== undefined) reached.push(name)
    return true
  })
  return { names: names.sort(), reached }
}

const expected = [...new Set(Object.keys(tree()).map((path) => path.split('/')[1]!))].sort()

t.test(
  'an entry of a lower with a malformed mark fails alone, and the listing contains all others',
  { skip },
  async (t) => {
    for (const options of ['', ',metacopy=on', ',userxattr', ',redirect_dir=nofollow']) {
      const prepare = ([top]: readonly string[]) => spoil(top as string)
      await withOverlay(
        t,
        [tree(), { 'd/below': '' }],
        async ({ overlay }) => {
          t.same(await list(overlay, 'd'), [...expected, 'below'].sort(), `names${options}`)
          const { names, reached } = await listPlus(overlay)
          t.same(names, [...expected, 'below'].sort(), `names with attributes${options}`)
          for (const name of ['good', 'plain', 'below']) t.ok(reached.includes(name), `${name}${options}`)
          const kinds = new Map<string, FileType>()
          await overlay.readdir(
            ROOT,
            await at(overlay, 'd'),
            0,
            ({ name, type }) => kinds.set(name, type) !== undefined,
          )
          t.equal(kinds.get('dir6'), FileType.directory)
        },
        { options, prepare },
      )
    }
  },
)

t.test(
  'an entry of the upper with a malformed mark fails alone, and the listing contains all others',
  { skip },
  async (t) => {
    await withOverlay(
      t,
      [{ 'd/below': '', 'd/dir1/y': '' }],
      async (fixture) => {
        await fixture.overlay.unmount()
        spoil(fixture.upper)
        for (const options of ['', ',metacopy=on']) {
          const overlay = await fixture.remount(options)
          const { reached } = await listPlus(overlay)
          for (const name of ['good', 'plain', 'below']) t.ok(reached.includes(name), `${name}${options}`)
          for (const name of ['good', 'plain', 'below'])
            t.ok((await list(overlay, 'd')).includes(name), `${name}${options}`)
        }
      },
      { upper: tree() },
    )
  },
)
