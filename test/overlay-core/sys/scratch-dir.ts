import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { closeSync, openRoot } from '../../../overlay-core/sys/open.ts'

/** Why a test that needs root does not run, for tap's `skip`. */
export const needsRoot: string | false = process.geteuid?.() === 0 ? false : 'needs root'

/** A new directory with its O_PATH descriptor; both go away with the test. */
export async function scratchDir(t: Test): Promise<{ path: string; fd: number }> {
  const path = mkdtempSync(join(tmpdir(), 'overlayd-sys-'))
  const fd = await openRoot(path)
  t.teardown(() => {
    closeSync(fd)
    rmSync(path, { recursive: true, force: true })
  })
  return { path, fd }
}

/** Closes the descriptor when the test ends, and gives it back. */
export function held(t: Test, fd: number): number {
  t.teardown(() => closeSync(fd))
  return fd
}
