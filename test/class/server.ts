import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { streamServer } from '../../server/config-server.ts'
import type { DifferenceLine, LastLine } from '../../server/diff/view-differences.ts'
import type { RebaseReport } from '../../server/rebase/report.ts'
import type { SnapshotDescription, SnapshotOrder } from '../../server/registry/snapshot-requests.ts'
import { readRunFiles } from '../../server/state-dir.ts'
import { LAUNCHER, plainly, type Running, start } from '../server/launch.ts'
import { snapshotOrders } from '../server/view-orders.ts'
import type { Line, Material } from './model.ts'

/** Writes a version of the course to `directory`. */
export function writeMaterial(directory: string, material: Material): void {
  for (const path of material.paths) {
    const file = join(directory, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, material.contentOf(path))
  }
  execFileSync('chmod', ['-R', 'a+rwX', directory])
}

/** Makes the first version of the course and its configuration in `dir`. */
export async function makeCourse(dir: string, material: Material): Promise<void> {
  writeMaterial(join(dir, 'material'), material)
  writeFileSync(
    join(dir, 'o.toml'),
    `
[layers]
directory = "layers"
[stacks.course]
layers = ["layer:material"]
[views.course]
stack = "course"
upper = "per-user"
directory = "views"
create = true
owner = "1000:1000"
quota = "512K"
squash_above = 4
[exports.nfs]
view = "course"
door = "nfs"
clients = ["127.0.0.0/8(rw,no_root_squash,insecure)"]
[exports.web]
view = "course"
door = "webdav"
[webdav]
listen = "127.0.0.1:0"
[nfs]
listen = "127.0.0.1:0"
[server]
state_dir = "state"
[log]
level = "warn"
`,
  )
  await overlayd(['layer', 'add', 'material', '--from', join(dir, 'material'), '--config', join(dir, 'o.toml')])
}

/** Runs a command to its end. @throws Error its exit status is not 0 */
async function overlayd(words: readonly string[]): Promise<string> {
  const { file, args, env } = plainly(process.execPath, LAUNCHER, ...words)
  const { stdout } = await promisify(execFile)(file, args, { env, maxBuffer: 1 << 28 })
  return stdout
}

/** A hash of everything in a tree: names, modes, times, contents. */
export function hashOf(directory: string): string {
  const hash = createHash('sha256')
  const walk = (path: string) => {
    for (const name of readdirSync(path).sort()) {
      const inside = join(path, name)
      const { mode, size, mtimeMs, nlink, uid, gid } = statSync(inside)
      hash.update(JSON.stringify([inside.slice(directory.length), mode, size, mtimeMs, nlink, uid, gid]))
      if (statSync(inside).isDirectory()) walk(inside)
      else hash.update(readFileSync(inside))
    }
  }
  walk(directory)
  return hash.digest('hex')
}

/** The server of a course, which can be killed and started again. */
export class Server {
  readonly #dir: string
  readonly #ends: (() => unknown)[] = []
  #running: Running | undefined
  #ask: ((order: SnapshotOrder) => Promise<readonly SnapshotDescription[]>) | undefined

  constructor(dir: string) {
    this.#dir = dir
  }

  async start(): Promise<void> {
    const test = { teardown: (end: () => unknown) => void this.#ends.push(end) }
    this.#running = await start(test, ['serve', '--config', join(this.#dir, 'o.toml')])
    this.#ask = await snapshotOrders(this.#running, join(this.#dir, 'state'))
  }

  get origin(): string {
    return new URL(this.#running?.webdavUrl as string).origin
  }

  get nfsPort(): number {
    return this.#running?.nfsPort as number
  }

  get stderr(): string {
    return this.#running?.stderr() ?? ''
  }

  async kill(): Promise<void> {
    await this.#running?.stop('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#running?.stop()
  }

  /** Kills whatever still runs. */
  end(): void {
    for (const end of this.#ends) end()
  }

  async order(order: SnapshotOrder): Promise<SnapshotDescription> {
    const [answer] = (await this.#ask?.(order)) ?? []
    return answer as SnapshotDescription
  }

  /** Publishes a new version of the course, and puts all views on it. Returns the state of each. */
  async publish(material: Material): Promise<readonly RebaseReport[]> {
    const directory = join(this.#dir, 'material-2')
    writeMaterial(directory, material)
    const here = ['--state-dir', join(this.#dir, 'state')]
    await overlayd(['layer', 'publish', 'material', '--from', directory, ...here])
    await overlayd(['reload', ...here])
    return JSON.parse(await overlayd(['rebase', 'course', '--yes', '--json', ...here]))
  }

  /** What `overlayd diff` says of a view, as lines for comparison. */
  async diff(view: string): Promise<Line[]> {
    const [server] = (await readRunFiles(join(this.#dir, 'state'))).filter(
      ({ pid }) => pid === this.#running?.child.pid,
    )
    if (server === undefined) throw new Error('the server has no run file')
    const lines: Line[] = []
    let last: LastLine | undefined
    const failure = await streamServer(server, 'view diff', { view, contents: true }, (line) => {
      if (!('kind' in line)) last = line
      // A copy without a change, which an interrupted edit has left, has the time of the earlier version of the course.
      else if (line.kind !== 'changed' || line.aspects.some((aspect) => aspect !== 'time')) lines.push(lineOf(line))
    })
    if (failure !== undefined || last === undefined || 'error' in last)
      throw new Error(`diff of ${view}: ${failure ?? JSON.stringify(last)}`)
    return lines.sort()
  }
}

function lineOf({ kind, path, from, after }: DifferenceLine): Line {
  const content = after?.content === undefined ? '' : Buffer.from(after.content, 'base64').toString()
  if (kind === 'removed') return `removed ${path}`
  return `${kind} ${from === undefined ? '' : `${from} -> `}${path}: ${content}`
}
