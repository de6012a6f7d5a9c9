import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** Runs a program to its end; returns what it printed. @throws Error it fails, with what it said */
export async function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  let said = ''
  child.stdout.on('data', (part) => {
    printed += part
  })
  child.stderr.on('data', (part) => {
    said += part
  })
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${said.trim() || (signal ?? `status ${status}`)}`)
  return printed
}

/** A program in the background. */
export interface Daemon {
  readonly pid: number
  /** What it said so far. */
  said(): string
  /** SIGTERM, and SIGKILL when it does not end within ten seconds. */
  stop(): Promise<void>
  readonly ended: Promise<unknown>
}

/** Starts a program that stays. @throws Error it cannot be started */
export async function startDaemon(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Daemon> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
  let said = ''
  const note = (part: Buffer): void => {
    said = (said + part.toString('latin1')).slice(-8000)
  }
  child.stdout.on('data', note)
  child.stderr.on('data', note)
  const ended = once(child, 'close')
  try {
    await once(child, 'spawn')
  } catch (error) {
    throw new Error(`${program} does not start (is it installed?): ${error instanceof Error ? error.message : error}`)
  }
  return { pid: child.pid!, said: () => said, ended, stop: () => stopChild(child, ended) }
}

async function stopChild(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(late)
}

/** Waits until `ready` says so. @throws Error the daemon ends first, or half a minute passes */
export async function waitFor(daemon: Daemon, what: string, ready: () => Promise<boolean>): Promise<void> {
  let over = false
  daemon.ended.then(() => {
    over = true
  })
  for (const until = performance.now() + 30_000; performance.now() < until; await delay(50)) {
    if (over) throw new Error(`${what} ended:\n${daemon.said()}`)
    if (await ready()) return
  }
  throw new Error(`${what} is not ready after half a minute:\n${daemon.said()}`)
}

/** Whether somebody accepts connections there. */
export function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port })
    const say = (answer: boolean) => () => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', say(true)).once('error', say(false))
  })
}

/** Memory of a process in MB (resident set); undefined when it is not one of this machine. */
export async function residentMb(pid: number | undefined): Promise<number | undefined> {
  if (pid === undefined) return undefined
  const kb = /^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]
  return kb === undefined ? undefined : Number(kb) / 1000
}
