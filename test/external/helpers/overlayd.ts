import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { watch } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Layers } from './layers.ts'
import type { Scratch } from './scratch.ts'
import { killGroup } from './shell.ts'

/** A running overlayd, started through its command line, on ports of its own. */
export interface Overlayd {
  /** Ends with a slash. */
  readonly webdavUrl: string
  readonly nfs: { readonly host: string; readonly port: number; readonly export: string }
  /** Everything printed so far. */
  printed(): string
  /** SIGTERM, then waits. @throws Error it does not end with status 0 within a minute */
  stop(): Promise<void>
  /** SIGKILL, then waits. */
  kill(): Promise<void>
}

const programPath = fileURLToPath(new URL('../../../server/overlayd.cjs', import.meta.url))
let started = 0

/**
 * Starts overlayd on the layers, without an upper when they have none, and waits until both doors accept. root keeps its powers over
 * NFS unless `exports` says otherwise, as the tests compare owners. All of a scratch folder share one state directory.
 *
 * @throws Error it ends instead, with what it printed
 */
export async function startOverlayd(
  scratch: Scratch,
  layers: Pick<Layers, 'lowerdir'> & Partial<Layers>,
  options: {
    mountOptions?: readonly string[]
    exports?: string
    nfsHost?: string
    nfsPort?: number
    flags?: readonly string[]
  } = {},
): Promise<Overlayd> {
  const readyFile = join(scratch.path, `ready-${started++}.json`)
  const words = [`lowerdir=${layers.lowerdir.join(':')}`]
  if (layers.upperdir !== undefined) words.push(`upperdir=${layers.upperdir}`, `workdir=${layers.workdir}`)
  words.push(...(options.mountOptions ?? []))
  const flags = [
    ...[
      '-o',
      words.join(','),
      '--webdav',
      '127.0.0.1:0',
      '--nfs',
      `${options.nfsHost ?? '127.0.0.1'}:${options.nfsPort ?? 0}`,
    ],
    ...(options.flags ?? []),
    // The tests compare owners and modes of what root makes on both sides.
    ...(options.flags?.includes('--as') ? [] : ['--as', 'root']),
    ...['--export', options.exports ?? '127.0.0.1(rw,no_root_squash,insecure,sync)'],
    ...['--state-dir', join(scratch.path, 'state'), '--ready-file', readyFile],
  ]
  // As a user starts it: without what the test runner wants to load into every Node.
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = spawn(process.execPath, [programPath, ...flags], {
    detached: true,
    cwd: scratch.path,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (child.pid !== undefined) child.on('close', scratch.killAtEnd(child.pid))
  let printed = ''
  const note = (chunk: Buffer) => {
    printed += chunk.toString('latin1')
  }
  child.stdout.on('data', note)
  child.stderr.on('data', note)
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const lost = ended.then(([status, signal]) => {
    throw new Error(`overlayd ended with ${status ?? signal}:\n${printed}`)
  })
  await Promise.race([appears(readyFile), lost])
  const ready = JSON.parse(await readFile(readyFile, 'utf8')) as { webdav: string; nfs: Overlayd['nfs'] }
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    const [status, signal] = await ended
    clearTimeout(timer)
    if (status !== 0) throw new Error(`overlayd ended with ${status ?? signal}, not 0:\n${printed.slice(-4000)}`)
  }
  const kill = async () => {
    // The launcher has become, or started, the server: all of the group goes.
    if (child.pid !== undefined) killGroup(child.pid, 'SIGKILL')
    await ended
  }
  scratch.defer(stop)
  return { webdavUrl: ready.webdav.replace(/\/*$/, '/'), nfs: ready.nfs, printed: () => printed, stop, kill }
}

/** Waits until a file is there; whoever makes it must rename it into place. */
async function appears(path: string): Promise<void> {
  const signal = AbortSignal.timeout(60_000)
  const watcher = watch(join(path, '..'), { signal, persistent: false })
  try {
    await new Promise<void>((resolve, reject) => {
      watcher.on('error', reject)
      signal.addEventListener('abort', () => reject(new Error('overlayd was not ready within a minute')))
      watcher.on('change', (_, name) => {
        if (String(name) === basename(path)) resolve()
      })
    })
  } finally {
    watcher.close()
  }
}
