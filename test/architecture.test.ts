import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { checkArchitecture, ROOMS, readSources } from './architecture.ts'

/** The rules that `text` breaks when it stands at `path`, among a few other files. */
function rulesBroken(path: string, text: string): string[] {
  const others: [string, string][] = [
    ['overlay-core/index.ts', "export { mount } from './mount/mount.ts'\n"],
    [
      'overlay-core/mount/mount.ts',
      "import { randomBytes } from 'node:crypto'\nimport { open } from '../sys/open.ts'\n",
    ],
    ['overlay-core/sys/open.ts', "import koffi from 'koffi'\nimport { OverlayError } from '../api/errno.ts'\n"],
    ['overlay-core/api/errno.ts', ''],
    ['protocols/nfs/index.ts', "import { mount } from '../../overlay-core/index.ts'\n"],
    ['protocols/nfs/rpc/call.ts', ''],
    ['protocols/webdav/index.ts', "import type { Overlay } from '../../overlay-core/index.ts'\n"],
    [
      'server/main.ts',
      "import { startNfs } from '../protocols/nfs/index.ts'\nimport { parse } from '../config/index.ts'\n",
    ],
    ['config/index.ts', "import { OptionError } from '../overlay-core/index.ts'\n"],
    ['package.json', ''],
  ]
  return checkArchitecture(new Map([...others, [path, text]])).map(({ rule }) => rule)
}

t.test('the sources keep to the architecture', async (t) => {
  const sources = await readSources(fileURLToPath(new URL('..', import.meta.url)))
  t.ok(sources.size > 50, 'the sources were found')
  t.same(checkArchitecture(sources), [])
})

t.test('sources that keep to the rules are passed', async (t) => {
  t.same(rulesBroken('server/views.ts', "import { mount } from '../overlay-core/index.ts'\n"), [])
  t.same(
    rulesBroken(
      'protocols/nfs/nfs3/read.ts',
      "import { x } from '../rpc/call.ts'\nimport { y } from '../../../overlay-core/index.ts'\n",
    ),
    [],
  )
  t.same(
    rulesBroken('overlay-core/operations/dir.ts', "import { open } from '../sys/open.ts'\nconst at = new Date(0)\n"),
    [],
  )
  t.same(rulesBroken('overlay-core/operations/dir.ts', '// as Date.now and process.env do\n/** Math.random */\n'), [])
})

t.test('each breach is found', async (t) => {
  const cases: [what: string, path: string, text: string, rule: string][] = [
    [
      'an adapter imports the inside of the core',
      'protocols/nfs/x.ts',
      "import { a } from '../../overlay-core/dir.ts'",
      'dependency',
    ],
    [
      'an adapter imports a type from the inside of the core',
      'protocols/nfs/x.ts',
      "import type { A } from '../../overlay-core/dir.ts'",
      'dependency',
    ],
    [
      'an adapter re-exports the inside of the core',
      'protocols/nfs/x.ts',
      "export * from '../../overlay-core/dir.ts'",
      'dependency',
    ],
    [
      'an adapter imports dynamically',
      'protocols/nfs/x.ts',
      "const a = await import('../../overlay-core/dir.ts')",
      'dependency',
    ],
    [
      'an adapter imports over several lines',
      'protocols/nfs/x.ts',
      "import {\n  a,\n  b,\n} from '../../overlay-core/dir.ts'",
      'dependency',
    ],
    ['an adapter imports another', 'protocols/nfs/x.ts', "import { a } from '../webdav/index.ts'", 'dependency'],
    ['an adapter imports the server', 'protocols/nfs/x.ts', "import { a } from '../../server/views.ts'", 'dependency'],
    [
      'an adapter imports the configuration',
      'protocols/nfs/x.ts',
      "import { a } from '../../config/index.ts'",
      'dependency',
    ],
    ['the core imports an adapter', 'overlay-core/x.ts', "import { a } from '../protocols/nfs/index.ts'", 'dependency'],
    ['the core imports its own door', 'overlay-core/x.ts', "import { a } from './index.ts'", 'dependency'],
    [
      'a system call imports a rule of the core',
      'overlay-core/sys/x.ts',
      "import { a } from '../operations/dir.ts'",
      'room order',
    ],
    [
      'a room imports a type from a room above',
      'overlay-core/layer/x.ts',
      "import type { A } from '../objects/superblock.ts'",
      'room order',
    ],
    [
      'a room re-exports a type from a room above',
      'protocols/webdav/http/x.ts',
      "export type { A } from '../methods/put.ts'",
      'room order',
    ],
    [
      'a room imports from the folder that holds the rooms',
      'protocols/nfs/rpc/x.ts',
      "import { a } from '../start.ts'",
      'room order',
    ],
    ['a folder that is no room', 'overlay-core/stuff/x.ts', '', 'room'],
    [
      'the server imports the inside of an adapter',
      'server/x.ts',
      "import { a } from '../protocols/nfs/rpc/call.ts'",
      'dependency',
    ],
    [
      'the server imports the inside of the configuration',
      'server/x.ts',
      "import { a } from '../config/schema.ts'",
      'dependency',
    ],
    ['the configuration imports the server', 'config/x.ts', "import { a } from '../server/views.ts'", 'dependency'],
    ['a source imports a test', 'server/x.ts', "import { a } from '../test/architecture.ts'", 'dependency'],
    ['node:fs outside sys', 'overlay-core/x.ts', "import { open } from 'node:fs'", 'confined module'],
    [
      'node:fs/promises in an adapter',
      'protocols/webdav/x.ts',
      "import { open } from 'node:fs/promises'",
      'confined module',
    ],
    ['fs without its prefix', 'overlay-core/sys/x.ts', "import { open } from 'fs'", 'confined module'],
    ['koffi outside sys', 'overlay-core/x.ts', "import koffi from 'koffi'", 'confined module'],
    ['require of koffi', 'protocols/nfs/x.ts', "const k = require('koffi')", 'confined module'],
    ['fastify in the core', 'overlay-core/x.ts', "import type { A } from 'fastify'", 'confined module'],
    [
      'webdav-server outside its adapter',
      'server/x.ts',
      "import { v2 } from 'webdav-server/lib/index.v2.js'",
      'confined module',
    ],
    ['process.env outside the configuration', 'server/x.ts', 'const a = process.env.HOME', 'process.env'],
    ['a clock in an adapter', 'protocols/nfs/x.ts', 'const a = Date.now()', 'clock'],
    ['a new Date in the core', 'overlay-core/x.ts', 'const a = new Date()', 'clock'],
    ['Math.random in the core', 'overlay-core/x.ts', 'const a = Math.random()', 'randomness'],
    ['randomBytes in an adapter', 'protocols/nfs/x.ts', "import { randomBytes } from 'node:crypto'", 'randomness'],
    ['a file of 401 lines', 'server/x.ts', 'export {}\n'.repeat(401), 'file size'],
    ['a file called util', 'server/util.ts', '', 'file name'],
    ['a file name with capitals', 'server/someThing.ts', '', 'file name'],
    ['a folder of its own at the top', 'lib', '', 'top level'],
    ['a file that imports itself', 'protocols/nfs/rpc/call.ts', "import { a } from './call.ts'", 'cycle'],
  ]
  for (const [what, path, text, rule] of cases) t.same(rulesBroken(path, text), [rule], what)
})

t.test('a cycle over several files is found once, and one of types only is none', async (t) => {
  const files = (keyword: string) =>
    new Map([
      ['config/a.ts', `${keyword} { b } from './b.ts'\n`],
      ['config/b.ts', `${keyword} { c } from './c.ts'\n`],
      ['config/c.ts', `${keyword} { a } from './a.ts'\n`],
    ])
  t.match(checkArchitecture(files('import')), [
    { rule: 'cycle', detail: 'config/a.ts → config/b.ts → config/c.ts → config/a.ts' },
  ])
  t.same(checkArchitecture(files('import type')), [])
})

t.test('docs/architecture.md shows every room, in order, each with its sentence', async (t) => {
  const text = await readFile(new URL('../docs/architecture.md', import.meta.url), 'utf8')
  for (const [part, rooms] of Object.entries(ROOMS)) {
    const section = text.split(`### ${part}\n`)[1]?.split('\n#')[0] ?? ''
    const rows = [...section.matchAll(/^\| `([^`]+)` \| (.+\.) \|$/gm)].map(([, name]) => name)
    t.same(
      rows,
      rooms.map((room) => (room === '' ? `${part}/` : `${room}/`)),
      part,
    )
  }
})
