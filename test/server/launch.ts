import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

export const LAUNCHER = fileURLToPath(new URL('../../server/overlayd.cjs', import.meta.url))

/**
 * What to start so that `command` runs as it does for a person: without what npm has put into the environment, and without the hooks that
 * the test runner puts into every child's NODE_OPTIONS, whatever environment it is given. `env` becomes the command, so the process is the same.
 */
export function plainly(...command: string[]): { file: string; args: string[]; env: NodeJS.ProcessEnv } {
  const foreign = /^(TAP|_TAPJS_|npm_(package|lifecycle|command|config_local_prefix))/
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
  return { file: 'env', args: ['-u', 'NODE_OPTIONS', ...command], env }
}

/** How a command line ended. */
export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Where and on what to run. */
export interface LaunchOptions {
  readonly cwd?: string
  /** Options of the Node that runs the launcher. */
  readonly nodeOptions?: readonly string[]
  /** Another launcher than that of the checkout. */
  readonly launcher?: string
  readonly uid?: number
  /** Further environment variables. */
  readonly env?: Readonly<Record<string, string>>
}

/** Runs overlayd to its end; one that does not end by itself is killed. */
export function run(
  args: readonly string[],
  { cwd, nodeOptions = [], launcher = LAUNCHER, uid, env: more = {} }: LaunchOptions = {},
): Promise<Ended> {
  const { file, args: all, env } = plainly(process.execPath, ...nodeOptions, launcher, ...args)
  return new Promise((resolve) => {
    const options = {
      timeout: 60_000,
      killSignal: 'SIGKILL',
      env: { ...env, ...more },
      ...(cwd && { cwd }),
      ...(uid && { uid, gid: uid }),
    } as const
    execFile(file, all, options, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : null, stdout, stderr })
    })
  })
}

/** A server that has said it is ready. */
export interface Running {
  readonly child: ChildProcess
  /** What it has printed so far on standard output. */
  stdout(): string
  stderr(): string
  /** The URL of the mount line. */
  readonly webdavUrl: string | undefined
  /** The port of the NFS mount line. */
  readonly nfsPort: number | undefined
  /** Sends `signal` (SIGTERM) and waits for the end: the exit status or the signal that killed it. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

/**
 * Starts overlayd and waits until it has announced its doors. It is killed when the test ends.
 *
 * @throws Error it ended instead, with what it printed
 */
export async function start(
  t: Pick<Test, 'teardown'>,
  args: readonly string[],
  { cwd, nodeOptions = [], launcher = LAUNCHER, uid, env: more = {} }: LaunchOptions = {},
): Promise<Running> {
  const { file, args: all, env } = plainly(process.execPath, ...nodeOptions, launcher, ...args)
  const child = spawn(file, all, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, ...more },
    ...(cwd && { cwd }),
    ...(uid && { uid, gid: uid }),
  })
  t.teardown(() => child.kill('SIGKILL'))
  const printed = { stdout: '', stderr: '' }
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const ready = new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk) => {
      printed.stdout += chunk
      if (printed.stdout.includes('Press Ctrl-C to stop.')) resolve()
    })
  })
  child.stderr.on('data', (chunk) => {
    printed.stderr += chunk
  })
  const lost = ended.then(([status, signal]) => {
    throw new Error(`ended with ${status ?? signal}: ${printed.stdout}${printed.stderr}`)
  })
  await Promise.race([ready, lost])
  // Whoever stops it waits for `ended`; this branch has done its work.
  lost.catch(() => undefined)
  return {
    child,
    stdout: () => printed.stdout,
    stderr: () => printed.stderr,
    webdavUrl: /mount -t davfs (\S+) /.exec(printed.stdout)?.[1],
    nfsPort: Number(/mount -t nfs -o \S*,port=(\d+)/.exec(printed.stdout)?.[1]) || undefined,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      const [status, killedBy] = await ended
      return status ?? killedBy
    },
  }
}

/** For tests whose WebDAV clients shall do what root may, where root runs them; any other user is itself there without a word. */
export const AS_SERVER: readonly string[] = process.geteuid?.() === 0 ? ['--as', 'root'] : []

/** Lets the tests' own NFS client in, which sends from any port, whoever runs the server. */
export const ANY_PORT: readonly string[] = ['--export', '127.0.0.1(rw,insecure)']

/** Ports of the system's choice, and a state directory of the test's own. */
export function freePorts(stateDir: string): string[] {
  return ['--webdav', '127.0.0.1:0', '--nfs', '127.0.0.1:0', '--state-dir', stateDir]
}
