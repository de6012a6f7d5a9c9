import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** Mounts a file system in memory of its own on a new folder until the test ends. Needs root. */
export function tmpfs(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'overlayd-tmpfs-'))
  execFileSync('mount', ['-t', 'tmpfs', 'none', path])
  t.teardown(() => {
    execFileSync('umount', ['-l', path])
    rmdirSync(path)
  })
  return path
}
