import { type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const INSIDE = '--inside'

/** The folder that `startWithOwnMounts` made for this process, and the arguments that it passed on; undefined in a process that it did not start. */
export function ownMounts(): { readonly scratch: string; readonly args: readonly string[] } | undefined {
  const [, , inside, scratch, ...args] = process.argv
  return inside === INSIDE && scratch !== undefined ? { scratch, args } : undefined
}

/** What goes with a program that is started with mounts of its own. */
export interface Start {
  /** Where the folder's name begins with. */
  readonly name: string
  /** Where the folder is made; default where temporary files go. */
  readonly on?: string
  /** Arguments of Node itself. */
  readonly nodeArguments?: readonly string[]
  /** Told what the process sends with `process.send`. */
  readonly onMessage?: (message: unknown) => void
}

/**
 * Runs the program `url` in a process with mounts of its own, which go when it ends, in whatever way, and a new folder. Needs root.
 *
 * @returns its exit status, 1 when a signal ended it
 */
export async function startWithOwnMounts(url: string, args: readonly string[], start: Start): Promise<number> {
  const scratch = mkdtempSync(join(start.on ?? tmpdir(), `overlayd-${start.name}-`))
  try {
    const node = [process.execPath, ...(start.nodeArguments ?? []), fileURLToPath(url)]
    const inner = ['--mount', '--propagation', 'private', ...node, INSIDE, scratch, ...args]
    const stdio: StdioOptions = start.onMessage ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit'
    const child = spawn('unshare', inner, { stdio })
    if (start.onMessage) child.on('message', start.onMessage)
    const [status, signal] = (await once(child, 'exit')) as [number | null, string | null]
    if (status !== 0 && status !== 1) console.error(`ended by ${signal ?? `status ${status}`}`)
    return status ?? 1
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Whether this process is root; else says that `program` needs it, and why, and sets the exit status. */
export function needsRoot(program: string, why: string): boolean {
  if (process.getuid?.() === 0) return true
  console.error(`${program} needs root: it ${why} (sudo npm run ${program})`)
  process.exitCode = 2
  return false
}
