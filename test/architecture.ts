import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Source files by their path from the top of the repository. */
export type Sources = ReadonlyMap<string, string>

/** One breach of the architecture: `file` does what `rule` forbids. */
export interface Violation {
  readonly file: string
  readonly rule: string
  readonly detail: string
}

/** The folders of the program. */
const SOURCE_FOLDERS = ['overlay-core', 'protocols', 'server', 'config']

/** Everything that may stand at the top of the repository. */
const TOP_LEVEL = new Set([
  ...SOURCE_FOLDERS,
  ...['test', 'deploy', 'docs', '.ci', 'package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'],
  ...['biome.json', '.taprc', '.npmrc', '.gitignore', '.gitattributes'],
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'LICENSE'],
])

/** Modules that reach outside, and the only files (or folders, with a slash at the end) that may use them. */
const CONFINED: Readonly<Record<string, readonly string[]>> = {
  // The server's own files (key, notes, ready file, journal of locks) and the boot id are not layers.
  // So is the page for browsers, which comes with the program.
  'node:fs': ['overlay-core/sys/', 'server/state-dir.ts', 'server/log-sink.ts', 'protocols/webdav/http/page-assets.ts'],
  'node:fs/promises': [
    'overlay-core/sys/',
    'server/state-dir.ts',
    'server/whole-file.ts',
    'server/file-stamp.ts',
    'server/journal-file.ts',
    'server/make-directory.ts',
    'server/nfs-state.ts',
    'server/reply-memory.ts',
    'server/exposure.ts',
    // Reads the configuration, looks at the paths in it, and makes the uppers that it asks for.
    'server/config-file.ts',
    'server/config-paths.ts',
    'server/new-upper.ts',
    // Makes and deletes the directories of views, and looks whether they are empty.
    'server/registry/view-directory.ts',
    // Reads the directories of a template, and deletes what is left of one that was being deleted.
    'server/fsck/check-registry.ts',
    'server/registry/view-project.ts',
    'server/registry/delete-tree.ts',
    'server/registry/layer-store.ts',
    'server/registry/fork-directory.ts',
    // The layer store: names, records and links; trees themselves are written by overlay-core.
    'server/layers/version-store.ts',
    'server/layers/source-file.ts',
    'server/layers/export-target.ts',
    'server/registry/staged-upper.ts',
    'server/init-command.ts',
    // Makes the place where a fork is mounted.
    'server/run/run-command.ts',
    // Reads the lists of machines, the files that they get, and the neighbour table.
    'server/boot/read-inventory.ts',
    'server/boot/site-files.ts',
    'server/boot/neighbours.ts',
    // Makes and checks images for machines.
    'server/image/',
    // The password file and the audit file.
    'server/login/sources/password-file.ts',
    'server/login/sources/secret-file.ts',
    'server/login/audit-file.ts',
    'server/user-command.ts',
    // The socket of the admin listener.
    'server/admin/api/socket-path.ts',
    'server/admin/http/unix-listener.ts',
    // Adds up what uppers contain.
    'server/admin/usage/walk.ts',
    // Reads the certificates and keys of the server, and keeps those of an authority.
    'server/tls/read-pem.ts',
    'server/cert/authority-directory.ts',
  ],
  koffi: ['overlay-core/sys/'],
  // Asks the name service by its own programs.
  'node:child_process': ['server/groups.ts', 'server/image/run-program.ts', 'server/run/forked-mount.ts'],
  // Threads that make system calls, and one that hashes passwords.
  'node:worker_threads': ['overlay-core/sys/', 'server/login/passwords/'],
  ldapts: ['server/login/ldap/'],
  jose: ['server/login/oidc/'],
  'openid-client': ['server/login/oidc/'],
  bcryptjs: ['server/login/passwords/'],
  fastify: ['server/', 'protocols/webdav/'],
  pino: ['server/'],
  'prom-client': ['server/metrics/'],
  undici: ['server/status-command.ts', 'server/admin/client/'],
  'webdav-server': ['protocols/webdav/'],
  saxes: ['protocols/webdav/'],
  'smol-toml': ['config/file/'],
  '@peculiar/x509': ['server/cert/'],
}

/** Words that reach for the surroundings, and the only files that may: elsewhere they are handed in, so that tests decide. */
const CONFINED_WORDS: readonly { word: RegExp; name: string; allowed: readonly string[] }[] = [
  { word: /\bprocess\.env\b/, name: 'process.env', allowed: ['config/environment.ts'] },
  // Where the machine's own stands as the default of what is handed in; and where it is measured how long a system call takes.
  {
    word: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bprocess\.hrtime\b/,
    name: 'clock',
    allowed: [
      'overlay-core/sys/call.ts',
      'overlay-core/mount/mount.ts',
      // Where calls on threads take long.
      'overlay-core/sys/call-thread.ts',
      // The one event loop of the process has one budget.
      'overlay-core/base/loop-turn.ts',
      'server/clock.ts',
      'protocols/nfs/start.ts',
      'protocols/webdav/index.ts',
    ],
  },
  {
    word: /\b(Math|crypto)\.(random|getRandom)\w*|(?<![.\w])(randomBytes|randomUUID|randomInt|randomFill(Sync)?|getRandomValues)\b(?!\??:)/,
    name: 'randomness',
    allowed: ['overlay-core/mount/mount.ts', 'server/random.ts', 'protocols/nfs/start.ts', 'protocols/webdav/index.ts'],
  },
]

const MAX_LINES = 400

/**
 * The rooms of each part of the program, in order: a room imports only from rooms before it, types included. '' is the part's own folder,
 * where its door stands. docs/architecture.md says what each room is for.
 */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  'overlay-core': [
    ...[
      'api',
      'sys',
      'base',
      'layer',
      'whiteouts',
      'sidecar',
      'stack',
      'objects',
      'lookup',
      'copy-up',
      'operations',
      'mount',
      'compare',
      'trees',
      'rebase',
      'check',
    ],
    '',
  ],
  'protocols/webdav': [
    ...['http', 'api', 'locks', 'state', 'request', 'properties', 'archives', 'trees', 'methods'],
    '',
  ],
  'server/login': ['api', 'passwords', 'sources', 'ldap', 'oidc', 'ids', 'tokens', ''],
  'server/admin': ['api', 'jobs', 'clients', 'usage', 'verbs', 'client', 'commands', 'http', ''],
  'protocols/nfs': [
    'xdr',
    'rpc',
    'exports',
    'portmap',
    'locks',
    'nsm',
    'nlm',
    'mount',
    'nfs3',
    'nfs4/wire',
    'nfs4/state',
    'nfs4',
    '',
  ],
}

interface Import {
  readonly target: string
  /** False for `import type` and `export type`: gone at run time. */
  readonly value: boolean
}

/** Every breach in `sources`, which also holds package.json and other files of the top (only their names count). */
export function checkArchitecture(sources: Sources): Violation[] {
  const violations: Violation[] = []
  for (const [file, text] of sources) {
    const report = (rule: string, detail: string) => violations.push({ file, rule, detail })
    if (!TOP_LEVEL.has(file.split('/')[0]!)) report('top level', 'is not part of the agreed top level')
    if (!isSource(file)) continue
    checkName(file, report)
    checkRoom(file, report)
    checkSize(text, report)
    checkWords(file, text, report)
    for (const { target } of importsOf(file, text)) checkImport(file, target, report)
  }
  return [...violations, ...findCycles(sources)]
}

type Report = (rule: string, detail: string) => void

/** The part of the program and the room in it that `file` belongs to; undefined where there are no rooms. */
function roomOf(file: string): { part: string; room: string } | undefined {
  const part = Object.keys(ROOMS).find((name) => file.startsWith(`${name}/`))
  return part === undefined ? undefined : { part, room: dirname(file).slice(part.length + 1) }
}

function checkRoom(file: string, report: Report): void {
  const place = roomOf(file)
  if (place !== undefined && !ROOMS[place.part]?.includes(place.room)) report('room', `${place.room} is no room`)
}

/** Whether `file` may import `target` as far as the order of rooms goes. */
function keepsRoomOrder(file: string, target: string): boolean {
  const [from, to] = [roomOf(file), roomOf(target)]
  if (from === undefined || to === undefined || from.part !== to.part) return true
  const order = ROOMS[from.part] as readonly string[]
  return order.indexOf(to.room) <= order.indexOf(from.room)
}

function isSource(file: string): boolean {
  return file.endsWith('.ts') && SOURCE_FOLDERS.includes(file.split('/')[0]!)
}

/** The modules that `text` imports or re-exports; relative ones as paths from the top. */
function importsOf(file: string, text: string): Import[] {
  const imports: Import[] = []
  const statement = /^(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'/gm
  for (const [, type, target] of withoutComments(text).matchAll(statement)) {
    imports.push({ target: resolveFrom(file, target!), value: type === undefined })
  }
  for (const [, target] of withoutComments(text).matchAll(/\b(?:import|require)\(\s*'([^']+)'/g)) {
    imports.push({ target: resolveFrom(file, target!), value: true })
  }
  return imports
}

/** Line and block comments out; good enough for sources that went through the formatter. */
function withoutComments(text: string): string {
  return text.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/(^|\s)\/\/.*$/gm, '')
}

function resolveFrom(file: string, target: string): string {
  return target.startsWith('.') ? join(file, '..', target) : target
}

function checkName(file: string, report: Report): void {
  const name = file.split('/').at(-1)!
  if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.d)?\.ts$/.test(name)) report('file name', 'is not kebab-case')
  if (/^(util|utils|common|helpers?|misc)\.ts$/.test(name))
    report('file name', 'says nothing: name it after its concern')
}

function checkSize(text: string, report: Report): void {
  const lines = text.split('\n').length - 1
  if (lines > MAX_LINES) report('file size', `has ${lines} lines, more than ${MAX_LINES}`)
}

function checkWords(file: string, text: string, report: Report): void {
  const code = withoutComments(text)
  for (const { word, name, allowed } of CONFINED_WORDS) {
    const found = word.exec(code)
    if (found !== null && !isAllowed(file, allowed))
      report(name, `uses ${found[0]}, which is only for ${allowed.join(', ')}`)
  }
}

function isAllowed(file: string, allowed: readonly string[]): boolean {
  return allowed.some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place))
}

function checkImport(file: string, target: string, report: Report): void {
  const confined = CONFINED[target.startsWith('koffi/') ? 'koffi' : target.replace(/^(webdav-server)\/.*/, '$1')]
  if (confined !== undefined && !isAllowed(file, confined)) report('confined module', `imports ${target}`)
  if (/^(fs|child_process|worker_threads|crypto|path|os|net|http|url)(\/|$)/.test(target)) {
    report('confined module', `imports ${target} without node:`)
  }
  if (!keepsRoomOrder(file, target)) report('room order', `imports ${target}, of a room above`)
  const folder = target.split('/')[0]!
  if (folder === '..' || folder === 'test') report('dependency', `imports ${target}`)
  if (SOURCE_FOLDERS.includes(folder) && !mayDependOn(file, target)) report('dependency', `imports ${target}`)
}

// protocols/* → overlay-core/index → internals → sys; server → protocols/*/index, overlay-core/index, config/index.
function mayDependOn(file: string, target: string): boolean {
  const [from, part] = file.split('/')
  const door = /^(overlay-core|config|protocols\/[^/]+)\/index\.ts$/.exec(target)?.[1]
  switch (from) {
    case 'overlay-core':
      return target.startsWith('overlay-core/') && target !== 'overlay-core/index.ts'
    case 'protocols':
      return target.startsWith(`protocols/${part}/`) || door === 'overlay-core'
    case 'config':
      return target.startsWith('config/') || door === 'overlay-core'
    default:
      return target.startsWith('server/') || door !== undefined
  }
}

/** Import cycles that exist at run time, each once. */
function findCycles(sources: Sources): Violation[] {
  const graph = new Map<string, string[]>()
  for (const [file, text] of sources) {
    if (!isSource(file)) continue
    const targets = importsOf(file, text).filter(({ target, value }) => value && sources.has(target))
    graph.set(
      file,
      targets.map(({ target }) => target),
    )
  }
  const violations: Violation[] = []
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]) => {
    const at = path.indexOf(file)
    if (at >= 0) violations.push({ file, rule: 'cycle', detail: [...path.slice(at), file].join(' → ') })
    if (at >= 0 || done.has(file)) return
    for (const target of graph.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return violations
}

/** Reads the repository at `top`: the sources whole, other things at the top by name. What git ignores is left out. */
export async function readSources(top: string): Promise<Sources> {
  const ignored = new Set([
    '.git',
    ...(await readFile(join(top, '.gitignore'), 'utf8')).split('\n').map((line) => line.replace(/\/$/, '')),
  ])
  const sources = new Map<string, string>()
  for (const entry of await readdir(top, { withFileTypes: true })) {
    if (ignored.has(entry.name) || /\.(tgz|log)$/.test(entry.name)) continue
    if (!SOURCE_FOLDERS.includes(entry.name)) sources.set(entry.name, '')
    else {
      for (const file of await readdir(join(top, entry.name), { recursive: true })) {
        const path = join(entry.name, file)
        if (path.endsWith('.ts')) sources.set(path, await readFile(join(top, path), 'utf8'))
      }
    }
  }
  return sources
}
