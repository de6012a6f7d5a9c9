import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Runs a program of `test/crash` with these arguments to its end. */
export function crashProgram(program: string, ...args: string[]): { status: number | null; output: string } {
  const path = fileURLToPath(new URL(`../crash/${program}`, import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}
