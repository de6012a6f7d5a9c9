import { spawn } from 'node:child_process'

/**
 * Runs a script in a POSIX shell that stops at the first failing command, and returns what it printed. Script and output are latin1
 * strings: one code unit is one byte. The script and everything it started is killed after `timeoutMs` (default 120 s).
 *
 * @throws ShellError the script failed or took too long
 */
export type Shell = (script: string, timeoutMs?: number) => Promise<string>

/** A script that failed: `status` is its exit status, undefined when it was killed; `output` what it printed on both streams. */
export class ShellError extends Error {
  readonly status: number | undefined
  readonly output: string
  constructor(script: string, status: number | undefined, output: string) {
    const shown = script.length > 400 ? `${script.slice(0, 400)}…` : script
    super(`${status === undefined ? 'killed' : `status ${status}`}: ${shown}\n${output.slice(-4000)}`)
    this.name = 'ShellError'
    this.status = status
    this.output = output
  }
}

export const defaultTimeoutMs = 120_000

/** One word for the shell, whatever bytes are in it. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}

/** Text for `printf %b` that gives the bytes of `text`, itself plain ASCII without quotes. */
export function printfEscape(text: string): string {
  return text.replace(
    /[^A-Za-z0-9 .,:;/=_+()[\]{}<>|&$"#*?!~^@-]/g,
    (unit) => `\\0${unit.charCodeAt(0).toString(8).padStart(3, '0')}`,
  )
}

/** A shell on this machine that works in `cwd`. */
export function hostShell(cwd = '/'): Shell {
  return (script, timeoutMs = defaultTimeoutMs) =>
    new Promise((resolve, reject) => {
      // Arguments of a process are UTF-8 in Node: other bytes go through printf.
      const words = ['-eu', '-o', 'pipefail', '-c', 'eval "$(printf %b "$1")"', 'test', printfEscape(script)]
      const child = spawn('bash', words, {
        cwd,
        detached: true,
        env: { ...process.env, LC_ALL: 'C', GIT_CONFIG_GLOBAL: '/dev/null' },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      const out: Buffer[] = []
      const errors: Buffer[] = []
      let late = false
      child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
      child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
      const timer = setTimeout(() => {
        late = true
        killGroup(child.pid, 'SIGKILL')
        // A process stuck in a dead mount does not die, and keeps the pipes: do not wait for it.
        child.stdout.destroy()
        child.stderr.destroy()
        reject(new ShellError(script, undefined, `out of time after ${timeoutMs} ms\n${text(errors)}`))
      }, timeoutMs)
      child.on('error', reject)
      child.on('close', (status) => {
        clearTimeout(timer)
        if (late) return
        if (status === 0) resolve(text(out))
        else reject(new ShellError(script, status ?? undefined, text(out).slice(-2000) + text(errors)))
      })
    })
}

/** Signals a process group; one that is gone already is fine. */
export function killGroup(pid: number | undefined, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function text(chunks: readonly Buffer[]): string {
  return Buffer.concat(chunks).toString('latin1')
}
