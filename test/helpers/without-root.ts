import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Overlay } from '../../overlay-core/index.ts'

/** The user and group of the server in tests without root, and a further group that it is in. */
export const SERVER = { uid: 65534, gid: 65534, groups: [4242] } as const

/** What happens in a process without root: gets a mounted overlay and a way to mount it anew; what it returns must go through JSON. */
export type Scenario = (overlay: Overlay, remount: () => Promise<Overlay>) => Promise<unknown>

const PROGRAM = fileURLToPath(new URL('./without-root-program.ts', import.meta.url))

/** Runs the exported scenario `name` of `module` in a process without root, on an overlay with these options, and returns its result. Needs root. */
export function runWithoutRoot(module: URL, name: string, options: string): unknown {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, module.href, name, options], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (status !== 0) throw new Error(`${name} ended with ${status}: ${stderr}`)
  return JSON.parse(stdout)
}
