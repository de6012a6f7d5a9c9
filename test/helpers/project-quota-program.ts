/**
 * Runs in a guest whose kernel has project quotas: starts overlayd with a template on each of the file systems in the arguments (directories with a folder for views), checks what the quotas do
 * to both doors, and prints what it found as JSON (`Finding[]`). The root of the guest contains /lower and the program.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { projectOf, projectUsage } from '../../overlay-core/index.ts'
import { ViewProject } from '../../server/registry/view-project.ts'
import { askForViews } from '../../server/view-command.ts'
import { type Handle, NfsClient } from './nfs-client.ts'

/** A check: they are to be equal. */
export interface Finding {
  readonly what: string
  readonly found: unknown
  readonly wanted: unknown
}

const KiB = 1024
const MiB = 1024 * KiB
const LIMIT = 8 * MiB
const FILES = 60
const DQUOT = 69
const LAUNCHER = '/overlayd/server/overlayd.cjs'
const CONFIG = '/tmp/overlayd.toml'
const findings: Finding[] = []
let phase = ''

function check(what: string, found: unknown, wanted: unknown): void {
  findings.push({ what: `${phase}${what}`, found, wanted })
}

function configuration(directories: readonly string[], quota: string): string {
  const template = (directory: string) => `
[views.${nameOf(directory)}]
stack = "material"
upper = "per-user"
directory = "${directory}/views"
owner = "1:1"
create = true
idle = "2s"
quota = "${quota}"
quota_files = ${FILES}
quota_by = "filesystem"
[exports.${nameOf(directory)}-nfs]
view = "${nameOf(directory)}"
door = "nfs"
clients = ["127.0.0.0/8(rw,no_root_squash,insecure)"]
[exports.${nameOf(directory)}-web]
view = "${nameOf(directory)}"
door = "webdav"
as = "root"
`
  return `
[layers.material]
path = "/lower"
[stacks.material]
layers = ["material"]
[webdav]
listen = "127.0.0.1:8080"
[nfs]
listen = "127.0.0.1:2049"
[server]
state_dir = "/tmp/state"
ready_file = "/tmp/ready"
[log]
level = "warn"
${directories.map(template).join('')}`
}

function nameOf(directory: string): string {
  return directory.split('/').at(-1) as string
}

/** `overlayd view …` in this process, because starting a program takes long in emulation. Returns what it prints. */
async function viewCommand(verb: 'show' | 'remove', view: string): Promise<string> {
  let printed = ''
  const print = (text: string) => {
    printed += text
  }
  const status = await askForViews(
    { verb, view, to: undefined, yes: true, json: verb === 'show', pid: undefined, stateDir: '/tmp/state' },
    { print, printError: print },
  )
  if (status !== 0) throw new Error(`view ${verb} ${view}: ${printed}`)
  return printed
}

async function startServer(): Promise<{ child: ChildProcess; printed: () => string }> {
  const child = spawn(process.execPath, [LAUNCHER, 'serve', '--config', CONFIG], { stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  let ready = () => undefined as unknown
  const isReady = new Promise<void>((resolve) => {
    ready = resolve
  })
  const note = (chunk: Buffer) => {
    printed += chunk
    if (printed.includes('Press Ctrl-C to stop.')) ready()
  }
  child.stdout.on('data', note)
  child.stderr.on('data', note)
  await Promise.race([
    isReady,
    once(child, 'close').then(() => {
      throw new Error(`the server ended: ${printed}`)
    }),
  ])
  return { child, printed: () => printed }
}

/** A view on the file system at `directory`, through both doors. */
class View {
  readonly directory: string
  readonly user: string
  readonly nfs: NfsClient
  readonly root: Handle

  private constructor(directory: string, user: string, nfs: NfsClient, root: Handle) {
    this.directory = directory
    this.user = user
    this.nfs = nfs
    this.root = root
  }

  static async open(directory: string, user: string): Promise<View> {
    const nfs = await NfsClient.connect(2049)
    return new View(directory, user, nfs, await nfs.mount(`/${nameOf(directory)}/${user}`))
  }

  async dav(method: string, name: string, options: RequestInit = {}): Promise<{ status: number; body: string }> {
    const url = `http://127.0.0.1:8080/${nameOf(this.directory)}/~${this.user}/${name}`
    const answer = await fetch(url, { method, ...options })
    return { status: answer.status, body: await answer.text() }
  }

  async put(name: string, bytes: number): Promise<number> {
    return (await this.dav('PUT', name, { body: Buffer.alloc(bytes, 1) })).status
  }

  async space(): Promise<Readonly<Record<string, number>>> {
    return (await this.nfs.fsstat(this.root)).numbers
  }

  /** Writes a new file until the server refuses that. Returns the status. */
  async fill(name: string, piece: number): Promise<number> {
    const file = (await this.nfs.create(this.root, name)).handle as Handle
    for (let at = 0; ; at += piece) {
      const { status } = await this.nfs.write(file, at, Buffer.alloc(piece, 7), 0)
      if (status !== 0 || at > 4 * LIMIT) return status
    }
  }
}

/** The directory of the only view of a template. */
function viewDirectory(directory: string): string {
  const views = join(directory, 'views')
  const [id] = readdirSync(views).filter((name) => /^[0-9a-f]{16}$/.test(name))
  return join(views, id as string)
}

/** Waits until the server has nothing of the view open any more. */
async function isClosed(server: number, directory: string): Promise<boolean> {
  const view = viewDirectory(directory)
  const folder = `/proc/${server}/fd`
  const isOpen = (fd: string) => {
    try {
      return readlinkSync(join(folder, fd)).startsWith(view)
    } catch {
      // It was closed meanwhile.
      return false
    }
  }
  for (const deadline = performance.now() + 60_000; performance.now() < deadline; await pause(200))
    if (!readdirSync(folder).some(isOpen)) return true
  return false
}

async function atTheLimitOfBytes(view: View, server: number): Promise<void> {
  const { nfs, root } = view
  const empty = await view.space()
  check('df shows the limit', [empty.tbytes, empty.tfiles], [LIMIT, FILES])
  const low = (await nfs.lookup(root, 'low')).handle as Handle
  check('a PUT that fits', await view.put('kept', 2 * MiB), 201)
  const half = await view.space()
  const used = LIMIT - (half.fbytes as number)
  check('is counted', used >= 2 * MiB && used < 2 * MiB + 256 * KiB, true)
  const properties = '<D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/></D:prop></D:propfind>'
  const { body } = await view.dav('PROPFIND', '', { headers: { depth: '0' }, body: properties })
  check('RFC 4331', /available-bytes>(\d+)</.exec(body)?.[1], String(half.abytes))

  check('a PUT that does not fit', await view.put('kept', 8 * MiB), 507)
  check('keeps the old content', (await view.dav('GET', 'kept')).body.length, 2 * MiB)
  check('and no part', readdirSync(join(viewDirectory(view.directory), 'work/work')), [])

  check('WRITE up to the limit', await view.fill('filler', 256 * KiB), DQUOT)
  const full = await view.space()
  check('the limit is reached', (full.abytes as number) < 512 * KiB, true)
  check('a PUT of a new file', await view.put('new', 2 * MiB), 507)
  check('leaves no name', (await view.dav('GET', 'new')).status, 404)
  check('copy-up', (await nfs.setattr(low, { mode: 0o600 })).status, DQUOT)
  check(
    'changes nothing',
    [(await nfs.getattr(low)).attr?.mode, (await view.dav('GET', 'low')).body.length],
    [0o644, MiB],
  )

  check('the view is closed at the limit', await isClosed(server, view.directory), true)
  check('and opened again', (await view.dav('GET', 'kept')).body.length, 2 * MiB)

  check('REMOVE', (await nfs.remove(root, 'filler')).status, 0)
  const after = await view.space()
  check('the space is back', Math.abs((after.abytes as number) - (half.abytes as number)) < 64 * KiB, true)
  check('copy-up then', (await nfs.setattr(low, { mode: 0o600 })).status, 0)
  check('a PUT then', await view.put('new', 2 * MiB), 201)
  for (const name of ['new', 'kept']) check(`DELETE ${name}`, (await view.dav('DELETE', name)).status, 204)
}

async function atTheLimitOfFiles(view: View): Promise<void> {
  const { nfs, root } = view
  let [made, status] = [0, 0]
  for (; status === 0 && made <= FILES; made++) status = (await nfs.create(root, `f${made}`)).status
  check('CREATE up to the limit', [status, made < FILES], [DQUOT, true])
  check('df', (await view.space()).afiles, 0)
  check('a PUT', await view.put('one-more', 1), 507)
  for (let at = 0; at < made - 1; at++) status = (await nfs.remove(root, `f${at}`)).status
  check('REMOVE', status, 0)
  check('a PUT then', await view.put('one-more', 1), 201)
}

async function shown(directory: string): Promise<void> {
  const path = `${nameOf(directory)}/u`
  const upper = join(viewDirectory(directory), 'upper')
  const { id } = await projectOf(upper)
  check('of upper and work', await projectOf(join(upper, '../work')), { id, inherited: true })
  for (let attempt = 1; ; attempt++) {
    const { quota, project } = JSON.parse(await viewCommand('show', path))
    const { bytes, files } = await projectUsage(upper, id)
    // The server may just be closing the view, which writes a little.
    if (quota.bytes !== bytes && attempt < 20) continue
    check('view show: the project', [project, id >= 2 ** 30], [id, true])
    check('view show: usage', [quota.bytes, quota.files, quota.hardBytes], [bytes, files, LIMIT])
    break
  }
  const { hardBytes, hardFiles } = await projectUsage(upper, id)
  check('the limits of the file system', [hardBytes, hardFiles], [LIMIT, FILES])
}

async function refused(directory: string): Promise<void> {
  const place = join(directory, 'old')
  const options = { upperdir: join(place, 'upper'), workdir: join(place, 'work') }
  mkdirSync(options.upperdir, { recursive: true })
  mkdirSync(options.workdir)
  writeFileSync(join(options.upperdir, 'file'), '')
  const opened = ViewProject.open(options as never, {}, { path: 'v/old', random: () => Buffer.alloc(4) })
  check(
    'a view that was filled before',
    await opened.catch(({ message }) => message),
    'v/old was filled without a project of the file system, so its quota cannot apply; copy its files into a new view, or remove quota_by = "filesystem"',
  )
}

async function run(directories: readonly string[]): Promise<void> {
  for (const directory of directories) mkdirSync(join(directory, 'views'), { mode: 0o700 })
  writeFileSync(CONFIG, configuration(directories, '8M'))
  const { child, printed } = await startServer()
  try {
    const rights = /CapEff:\s*(\w+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]
    check('the server cannot exceed quotas', (BigInt(`0x${rights}`) >> 24n) & 1n ? 'it can' : 'no', 'no')
    const views: View[] = []
    for (const directory of directories) {
      phase = `${nameOf(directory)}: `
      const view = await View.open(directory, 'u')
      views.push(view)
      await atTheLimitOfBytes(view, child.pid as number)
      await atTheLimitOfFiles(view)
      await shown(directory)
      await refused(directory)
      const other = await View.open(directory, 'other')
      check('another view has limits of its own', ((await other.space()).abytes as number) > LIMIT - MiB, true)
    }
    phase = 'reload: '
    writeFileSync(CONFIG, configuration(directories, '16M'))
    child.kill('SIGHUP')
    const deadline = performance.now() + 60_000
    for (const view of views) {
      while ((await view.space()).tbytes !== 2 * LIMIT && performance.now() < deadline) await pause(200)
      check(`the limit of ${nameOf(view.directory)}`, (await view.space()).tbytes, 2 * LIMIT)
    }
    phase = 'view remove: '
    const [first] = directories as [string]
    const path = join(first, 'views')
    const ids: number[] = []
    for (const name of readdirSync(path)) {
      if (/^[0-9a-f]{16}$/.test(name)) ids.push((await projectOf(join(path, name, 'upper'))).id)
    }
    for (const user of ['u', 'other']) await viewCommand('remove', `${nameOf(first)}/${user}`)
    for (const id of ids) {
      const nothing = { bytes: 0, files: 0, hardBytes: Number.POSITIVE_INFINITY, hardFiles: Number.POSITIVE_INFINITY }
      check('nothing is left in the quotas', await projectUsage(path, id), nothing)
    }
    for (const view of views) await view.nfs.close()
    child.kill('SIGTERM')
    check('the server ends', await once(child, 'close'), [0, null])
  } catch (error) {
    throw new Error(`${phase}${(error as Error).stack}\n${printed()}`)
  } finally {
    child.kill('SIGKILL')
  }
}

await run(process.argv.slice(2)).catch((error) => check('ends', String((error as Error).message), ''))
console.log(JSON.stringify(findings, (_, value) => (value === Number.POSITIVE_INFINITY ? 'none' : value)))
