import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { hostShell, killGroup, quote } from './shell.ts'

/**
 * A temporary folder of one test file and everything that lives on it. At the end of the test, and also when the process
 * ends early, what was deferred is undone, the newest first; then process groups are killed, mounts below the folder taken away
 * and the folder removed.
 */
export interface Scratch {
  /** Absolute, without characters that mean something to a shell or to mount(8). */
  readonly path: string
  readonly sh: ReturnType<typeof hostShell>
  /** Runs `undo` at the end; it may already have been done by then. */
  defer(undo: () => Promise<void> | void): void
  /** Kills this process group at the end if it still runs. */
  killAtEnd(pid: number): void
}

/** Makes the scratch folder of a test file. */
export function makeScratch(t: Test): Scratch {
  const path = mkdtempSync(join(tmpdir(), 'overlayd-external-'))
  // Users other than root come through it on their way to a mount.
  chmodSync(path, 0o755)
  const undos: (() => Promise<void> | void)[] = []
  const groups = new Set<number>()
  let clean = false
  const onExit = () => {
    if (!clean) sweep(path, groups)
  }
  process.once('exit', onExit)
  t.teardown(async () => {
    const failures: unknown[] = []
    for (const undo of undos.reverse()) {
      try {
        await undo()
      } catch (error) {
        failures.push(error)
      }
    }
    sweep(path, groups)
    clean = true
    process.off('exit', onExit)
    if (failures.length > 0) throw new AggregateError(failures, `clean-up failed: ${failures.map(String).join('; ')}`)
  })
  return {
    path,
    sh: hostShell(path),
    defer: (undo) => undos.push(undo),
    killAtEnd: (pid) => groups.add(pid),
  }
}

/** The mount points below `path`, innermost first. */
export function mountsBelow(path: string): string[] {
  return readFileSync('/proc/self/mounts', 'latin1')
    .split('\n')
    .map((line) =>
      (line.split(' ')[1] ?? '').replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))),
    )
    .filter((point) => point.startsWith(`${path}/`))
    .reverse()
}

function sweep(path: string, groups: ReadonlySet<number>): void {
  for (const pid of groups) killGroup(pid, 'SIGKILL')
  for (const point of mountsBelow(path)) execFileSync('umount', ['-i', '-l', point], { stdio: 'inherit' })
  if (mountsBelow(path).length > 0) throw new Error(`still mounted below ${path}: not removed`)
  execFileSync('sh', ['-c', `rm -rf --one-file-system ${quote(path)}`], { stdio: 'inherit' })
}
