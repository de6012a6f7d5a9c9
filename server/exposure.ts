import { realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Settings } from '../config/index.ts'
import type { View } from './views.ts'

const OTHERS_SEARCH = 0o001
/** The machine's own programs and data are there for all its users. */
const PUBLIC_TREES = /^\/(usr|bin|sbin|lib|lib32|lib64|opt|etc|snap|nix)(\/|$)/

/**
 * Tells of directories that other users of this machine can get into past the server: what clients make in an upper (programs with setuid or setgid among it) could be
 * run there, and what a whiteout or an upper file hides from clients is open in a lower. One line each, with the mend.
 */
export async function exposedDirectories(settings: Settings, views: readonly View[]): Promise<string[]> {
  const notes: string[] = []
  const tell = async (what: string, path: string) => {
    const real = await realpath(path)
    if (PUBLIC_TREES.test(real) || !(await othersReach(real))) return
    notes.push(`other users of this machine can enter ${what} ${path}; ${mend(dirname(real))}`)
  }
  for (const { overlay, settings: given } of views) {
    const { upperdir, workdir, lowerdir, datadir } = overlay.options
    // The sample lies in the state directory, and in the package, which everybody may read.
    if (given.mount === undefined) continue
    if (upperdir !== undefined) await tell('upperdir', upperdir)
    if (workdir !== undefined && (upperdir === undefined || dirname(workdir) !== dirname(upperdir))) {
      await tell('workdir', workdir)
    }
    for (const path of [...lowerdir, ...datadir]) await tell('lowerdir', path)
  }
  await tell('--state-dir', settings.stateDir)
  return notes
}

function mend(parent: string): string {
  const shared = /^\/([^/]*|home\/[^/]+|srv|var\/lib|var\/tmp|run\/user\/[^/]+)$/.test(parent)
  return shared ? 'move it below a directory with mode 0700' : `run chmod o-x ${parent}`
}

/** Whether users who are neither owner nor in the group may go through every directory on the way, and into this one. */
async function othersReach(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    if (((await stat(at)).mode & OTHERS_SEARCH) === 0) return false
    if (at === dirname(at)) return true
  }
}
