import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import * as native from '../differential/native.ts'
import { NO_FAULTS } from './fault-points.ts'
import { parseArguments, type Settings } from './settings.ts'

const INSIDE = '--inside'
const MS_NOATIME = 1024

/**
 * Runs the program `url` again with mounts of its own, which go when it ends in whatever way, in a new folder, and fit to fork; in there
 * calls `main`. Sets the exit code.
 */
export async function runInside(
  url: string,
  name: string,
  main: (scratch: string, settings: Settings) => Promise<number>,
): Promise<void> {
  if (process.getuid?.() !== 0) {
    console.error(`${name} needs root: it mounts file systems (sudo npm run ${name})`)
    process.exitCode = 2
    return
  }
  if (process.argv[2] !== INSIDE) {
    process.exitCode = startInside(url, process.argv.slice(2))
    return
  }
  const scratch = process.argv[3] as string
  const settings = parseArguments(process.argv.slice(4))
  process.umask(0)
  setFaultPoints(NO_FAULTS)
  if (settings.on === 'tmpfs') native.mount('tmpfs', scratch, 'tmpfs', MS_NOATIME, 'mode=755')
  process.exitCode = await main(scratch, settings)
}

function startInside(url: string, args: readonly string[]): number {
  parseArguments(args)
  const scratch = mkdtempSync(join(tmpdir(), 'overlayd-crash-'))
  try {
    const node = [process.execPath, '--single-threaded', fileURLToPath(url)]
    const inner = ['--mount', '--propagation', 'private', ...node, INSIDE, scratch]
    const { status, signal } = spawnSync('unshare', [...inner, ...args], { stdio: 'inherit' })
    if (status !== 0 && status !== 1) console.error(`ended by ${signal ?? `status ${status}`}`)
    return status ?? 1
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
