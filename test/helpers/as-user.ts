import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Cred } from '../../overlay-core/index.ts'

/** A system call for `asUser`, by its name in `as-user-program.ts`, and its arguments. */
export type Step = readonly [call: string, ...args: (string | number)[]]

const PROGRAM = fileURLToPath(new URL('./as-user-program.ts', import.meta.url))

/**
 * Makes the calls one after the other in a process of its own with these ids, no umask, and, unless it is root, no capabilities; returns the
 * answer of each: `ok`, a value, or the name of the error. Needs root.
 */
export function asUser(cred: Cred, steps: readonly Step[]): string[] {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM], {
    input: JSON.stringify({ cred, steps }),
    maxBuffer: 64 * 1024 * 1024,
    encoding: 'latin1',
  })
  if (status !== 0) throw new Error(`as-user-program.ts ended with ${status}: ${stderr}`)
  return JSON.parse(stdout) as string[]
}
