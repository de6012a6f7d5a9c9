import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Runs a program of `test/crash` with these arguments to its end, by two processes, so that the numbers are the same on every machine. */
export function crashProgram(program: string, ...args: string[]): { status: number | null; output: string } {
  const path = fileURLToPath(new URL(`../crash/${program}`, import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, '--jobs', '2', ...args], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}
