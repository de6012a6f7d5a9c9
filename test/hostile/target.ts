import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { NfsClient } from '../helpers/nfs-client.ts'
import { authSys, RpcClient } from '../helpers/rpc-client.ts'
import { ADDRESSES, EXPORTS } from './addresses.ts'
import { atOwnPriority } from './priority.ts'
import { ProcessMeter } from './process-meter.ts'

/** How to start overlayd. */
export interface TargetOptions {
  /** The words of `-o`; undefined: there is a configuration file. */
  readonly overlay?: string
  /** The path of a configuration file, which says what is exported. */
  readonly config?: string
  /** What another client uses meanwhile; by default the root of an overlay, and `small` in it. */
  readonly probed?: Probed
  /** Everything else on the command line. */
  readonly flags?: readonly string[]
  /** Unless given, clients in 127.0.0.0/24 may write and the others may not mount; `null` leaves the default. */
  readonly exports?: string | null
  readonly stateDir?: string
  readonly env?: NodeJS.ProcessEnv
  /** `ulimit -n`. */
  readonly descriptors?: number
  /** Where its log goes: a file unless given; `stalled` is a pipe that nobody reads. */
  readonly log?: 'file' | 'stalled'
  readonly uid?: number
}

/** What another client mounts over NFS, and the small file that it gets over WebDAV. */
export interface Probed {
  readonly exportPath: string
  readonly smallFile: string
}

/** Flags by which WebDAV clients may do everything: where an attack is not about what they may. */
export const AS_ROOT = ['--as', '0:0'] as const

/** How a command line ended that was expected to end. */
export interface Refused {
  readonly status: number | null
  readonly stderr: string
}

const PROGRAM = fileURLToPath(new URL('../../server/overlayd.cjs', import.meta.url))
const START_MS = 60_000
const SAYS_MS = 10_000
let started = 0

/** A running overlayd, started by its command line as a user does, on ports of the system's choice. */
export class Target {
  readonly meter: ProcessMeter
  readonly nfsPort: number | undefined
  readonly webdavPort: number | undefined
  /** What another client mounts, and the small file that it gets. */
  readonly exportPath: string
  readonly smallFile: string
  /** Whether WebDAV is encrypted. */
  readonly tls: boolean
  readonly #ended: Promise<unknown>
  readonly #files: { readonly out: string; readonly log: string }
  readonly #pid: number

  private constructor(
    pid: number,
    ready: { webdav: string | null; nfs: { port: number } | null },
    ended: Promise<unknown>,
    files: { out: string; log: string },
    { exportPath, smallFile }: Probed,
  ) {
    this.exportPath = exportPath
    this.smallFile = smallFile
    this.#pid = pid
    this.meter = new ProcessMeter(pid)
    this.nfsPort = ready.nfs?.port
    this.tls = ready.webdav?.startsWith('https:') ?? false
    this.webdavPort = ready.webdav === null ? undefined : Number(new URL(ready.webdav).port)
    this.#ended = ended
    this.#files = files
  }

  /** Starts one in `dir`. @throws Error it ended instead, with what it printed */
  static async start(dir: string, options: TargetOptions): Promise<Target> {
    const { child, ended, files, readyFile } = launch(dir, options)
    const deadline = performance.now() + START_MS
    while (!existsSync(readyFile)) {
      if (child.exitCode !== null || child.signalCode !== null || performance.now() > deadline) {
        child.kill('SIGKILL')
        throw new Error(`overlayd does not start: ${read(files.out)}${read(files.log)}`)
      }
      await sleep(20)
    }
    const probed = options.probed ?? { exportPath: '/overlay', smallFile: '/overlay/small' }
    return new Target(child.pid!, JSON.parse(readFileSync(readyFile, 'utf8')), ended, files, probed)
  }

  /** What it printed on standard output. */
  get printed(): string {
    return read(this.#files.out)
  }

  /** What it logged. */
  get logged(): string {
    return read(this.#files.log)
  }

  /** Whether it says `pattern`, on standard output or in its log, within ten seconds: the ready file comes before the last lines. */
  async says(pattern: RegExp): Promise<boolean> {
    for (const deadline = performance.now() + SAYS_MS; ; await sleep(20)) {
      if (pattern.test(`${this.printed}\n${this.logged}`)) return true
      if (performance.now() > deadline) return false
    }
  }

  get logBytes(): number {
    return statSync(this.#files.log).size
  }

  /** An NFS client of the user `uid` at `address`. */
  async nfs(address: string = ADDRESSES.attacker, uid = 1000, localPort?: number): Promise<NfsClient> {
    return new NfsClient(await this.rpc(address, localPort), authSys(uid, uid))
  }

  async rpc(address: string = ADDRESSES.attacker, localPort?: number): Promise<RpcClient> {
    return await RpcClient.connect(this.nfsPort!, localPort, address)
  }

  /** Ends it in order, or after a while in disorder; true when in order. */
  async stop(): Promise<boolean> {
    if (!this.meter.alive) return false
    process.kill(this.#pid, 'SIGTERM')
    const timer = setTimeout(() => process.kill(this.#pid, 'SIGKILL'), 30_000)
    const status = await this.#ended
    clearTimeout(timer)
    return status === 0
  }

  /** Kills it and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.meter.alive) process.kill(this.#pid, 'SIGKILL')
    await this.#ended
  }
}

/** Runs a command line that is expected to be refused; one that serves is stopped: status 0. */
export async function startRefused(dir: string, options: TargetOptions): Promise<Refused> {
  const { child, ended, files, readyFile } = launch(dir, options)
  const deadline = performance.now() + START_MS
  while (child.exitCode === null && child.signalCode === null && performance.now() < deadline) {
    if (existsSync(readyFile)) child.kill('SIGTERM')
    await sleep(20)
  }
  child.kill('SIGKILL')
  const status = (await ended) as number | null
  return { status, stderr: read(files.log) }
}

function launch(dir: string, options: TargetOptions) {
  const name = join(dir, `overlayd-${started++}`)
  const files = { out: `${name}.out`, log: `${name}.log` }
  const readyFile = `${name}.ready`
  const { exports = EXPORTS, flags = [], env = {}, descriptors } = options
  const what = options.config === undefined ? ['-o', options.overlay as string] : ['serve', '--config', options.config]
  const words = [...what, '--webdav', '127.0.0.1:0', '--nfs', '127.0.0.1:0']
  if (exports !== null && options.config === undefined) words.push('--export', exports)
  words.push('--state-dir', options.stateDir ?? join(dir, 'state'), '--ready-file', readyFile, ...flags)
  const limit = descriptors === undefined ? '' : `ulimit -n ${descriptors}; `
  // The launcher becomes the server: one process from here on.
  const { file, args } = atOwnPriority(...['sh', '-c', `${limit}exec "$@"`, 'sh', process.execPath, PROGRAM, ...words])
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const [out, log] = [openSync(files.out, 'w'), openSync(files.log, 'w')]
  const child = spawn(file, args, {
    cwd: dir,
    env: { ...inherited, ...env },
    stdio: ['ignore', out, options.log === 'stalled' ? 'pipe' : log],
    ...(options.uid !== undefined && { uid: options.uid, gid: options.uid }),
  })
  // Nobody reads it: the pipe fills up.
  child.stderr?.pause()
  closeSync(out)
  closeSync(log)
  const ended = once(child, 'exit').then(([status]) => status as number | null)
  return { child, ended, files, readyFile }
}

function read(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
