import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import * as native from '../differential/native.ts'
import { needsRoot, ownMounts, startWithOwnMounts } from '../helpers/own-mounts.ts'
import { NO_FAULTS } from './fault-points.ts'
import { parseArguments, type Settings } from './settings.ts'

const MS_NOATIME = 1024

/**
 * Runs the program `url` again with mounts of its own and a folder on them, fit to fork; in there calls `main`. Sets the exit code.
 */
export async function runInside(
  url: string,
  name: string,
  main: (scratch: string, settings: Settings) => Promise<number>,
): Promise<void> {
  if (!needsRoot(name, 'mounts file systems')) return
  const inside = ownMounts()
  if (inside === undefined) {
    const args = process.argv.slice(2)
    parseArguments(args)
    process.exitCode = await startWithOwnMounts(url, args, { name: 'crash', nodeArguments: ['--single-threaded'] })
    return
  }
  const settings = parseArguments(inside.args)
  process.umask(0)
  setFaultPoints(NO_FAULTS)
  if (settings.on === 'tmpfs') native.mount('tmpfs', inside.scratch, 'tmpfs', MS_NOATIME, 'mode=755')
  process.exitCode = await main(inside.scratch, settings)
}
