import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { hostShell, type Shell } from './shell.ts'

/**
 * A temporary folder of one test file and everything that lives on it. At the end of the test what was deferred is undone, the newest
 * first; then, and also when the test is killed, process groups are killed, mounts below the folder taken away and the folder removed.
 */
export interface Scratch {
  /** Absolute, without characters that mean something to a shell or to mount(8). */
  readonly path: string
  readonly sh: Shell
  /** Prints a line among the results of the test file. */
  comment(text: string): void
  /** Runs `undo` at the end; it may already have been done by then. */
  defer(undo: () => Promise<void> | void): void
  /** Kills this process group at the end, unless the returned function was called, which says that it has ended. */
  killAtEnd(group: number): () => void
}

const reaperPath = fileURLToPath(new URL('./reaper', import.meta.url))

/** Makes the scratch folder of a test file. */
export function makeScratch(t: Test): Scratch {
  const path = mkdtempSync(join(tmpdir(), 'overlayd-external-'))
  // Users other than root come through it on their way to a mount.
  chmodSync(path, 0o755)
  const reaper = spawn(reaperPath, [path], { detached: true, stdio: ['pipe', 'ignore', 'inherit'] })
  const reaped = once(reaper, 'close')
  const undos: (() => Promise<void> | void)[] = []
  t.teardown(async () => {
    const failures: unknown[] = []
    for (const undo of undos.reverse()) {
      try {
        await undo()
      } catch (error) {
        failures.push(error)
      }
    }
    reaper.stdin.end()
    const [status] = await reaped
    if (status !== 0) failures.push(new Error(`the reaper ended with ${status}`))
    if (failures.length > 0) throw new AggregateError(failures, `clean-up failed: ${failures.map(String).join('; ')}`)
  })
  return {
    path,
    sh: hostShell(path),
    comment: (text) => t.comment(text),
    defer: (undo) => undos.push(undo),
    killAtEnd: (group) => {
      reaper.stdin.write(`${group}\n`)
      return () => {
        if (reaper.stdin.writable) reaper.stdin.write(`-${group}\n`)
      }
    },
  }
}
