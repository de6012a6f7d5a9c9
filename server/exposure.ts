import { realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Settings } from '../config/index.ts'
import type { View } from './views.ts'

const OTHERS_SEARCH = 0o001
/** Directories of the system itself, which all users may enter. */
const PUBLIC_TREES = /^\/(usr|bin|sbin|lib|lib32|lib64|opt|etc|snap|nix)(\/|$)/

/**
 * Finds directories that other users of this machine can enter directly. They could run programs that clients create in an upper, including
 * setuid and setgid programs, and read lower files that a whiteout or an upper file hides from clients. Returns one line per directory, with the correction.
 */
export async function exposedDirectories(settings: Settings, views: readonly View[]): Promise<string[]> {
  const warnings: string[] = []
  const tell = async (what: string, path: string) => {
    const real = await realpath(path).catch(unlessMissing)
    // The state directory could not be created on a full or read-only disk.
    if (real === undefined) return
    if (PUBLIC_TREES.test(real) || !(await othersReach(real))) return
    warnings.push(`other users of this machine can enter ${what} ${path}; ${mend(dirname(real))}`)
  }
  for (const { overlay, settings: given } of views) {
    const { upperdir, workdir, lowerdir, datadir } = overlay.options
    // The sample is in the state directory and in the package, which everybody may read.
    if (given.mount === undefined) continue
    if (upperdir !== undefined) await tell('upperdir', upperdir)
    if (workdir !== undefined && (upperdir === undefined || dirname(workdir) !== dirname(upperdir))) {
      await tell('workdir', workdir)
    }
    for (const path of [...lowerdir, ...datadir]) await tell('lowerdir', path)
  }
  await tell('--state-dir', settings.stateDir)
  return warnings
}

function unlessMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}

function mend(parent: string): string {
  const shared = /^\/([^/]*|home\/[^/]+|srv|var\/lib|var\/tmp|run\/user\/[^/]+)$/.test(parent)
  return shared ? 'move it below a directory with mode 0700' : `run chmod o-x ${parent}`
}

/** Whether users who are neither owner nor group members may enter this directory and all directories above it. */
async function othersReach(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    if (((await stat(at)).mode & OTHERS_SEARCH) === 0) return false
    if (at === dirname(at)) return true
  }
}
