import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Scratch } from './scratch.ts'
import { killGroup } from './shell.ts'

/** A machine in qemu whose serial console is read and written. */
export interface Guest {
  /** All that it has printed so far. */
  printed(): string
  /** Resolves when it prints this, after what was waited for before. @throws Error it did not within `timeoutMs`, or ended */
  waitFor(text: RegExp, timeoutMs?: number): Promise<string>
  /** Types a line. */
  type(line: string): void
  /** Runs a script in the shell of the console. @throws Error it ended with another status than 0 */
  sh(script: string, timeoutMs?: number): Promise<string>
  /** Resolves with the exit status of qemu when the machine is off. */
  readonly off: Promise<number | null>
  kill(): void
}

const MOST_PRINTED = 4 * 1024 * 1024

/** Starts qemu with its serial port on the console. */
export function startGuest(scratch: Scratch, args: readonly string[]): Guest {
  const child: ChildProcess = spawn('qemu-system-x86_64', [...args], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  if (child.pid !== undefined) child.on('close', scratch.killAtEnd(child.pid))
  let printed = ''
  let seen = 0
  let ended = false
  let look: () => void = () => undefined
  const take = (chunk: Buffer) => {
    printed = (printed + chunk.toString('latin1').replaceAll('\r', '')).slice(-MOST_PRINTED)
    look()
  }
  child.stdout?.on('data', take)
  child.stderr?.on('data', take)
  child.stdin?.on('error', () => undefined)
  const off = once(child, 'close').then(([status]) => {
    ended = true
    look()
    return status as number | null
  })
  const kill = () => killGroup(child.pid, 'SIGKILL')
  scratch.defer(kill)
  const waitFor: Guest['waitFor'] = async (text, timeoutMs = 120_000) => {
    return await new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        look = () => undefined
        settle()
      }
      const fail = (why: string) =>
        finish(() =>
          reject(new Error(`${why} while waiting for ${text}; the last it printed:\n${printed.slice(-4000)}`)),
        )
      const timer = setTimeout(() => fail(`${timeoutMs / 1000} s went by`), timeoutMs)
      look = () => {
        const found = text.exec(printed.slice(seen))
        if (found !== null) {
          seen += found.index + found[0].length
          finish(() => resolve(found[0]))
        } else if (ended) fail('qemu ended')
      }
      look()
    })
  }
  const type = (line: string) => void child.stdin?.write(`${line}\n`)
  let count = 0
  const sh: Guest['sh'] = async (script, timeoutMs) => {
    const mark = `mark${count++}`
    const from = seen
    // The terminal shows what is typed: the mark is put together there only.
    type(`( ${script}\n); echo "${mark.slice(0, 2)}""${mark.slice(2)}:$?:"`)
    const line = await waitFor(new RegExp(`${mark}:(\\d+):`), timeoutMs)
    const out = printed.slice(from, seen)
    if (!line.endsWith(':0:')) throw new Error(`${script}: ${line}\n${out.slice(-3000)}`)
    return out
  }
  return { printed: () => printed, waitFor, type, sh, off, kill }
}
