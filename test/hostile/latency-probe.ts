import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { atOwnPriority } from './priority.ts'

/** Whom to watch, and from where. */
export interface ProbeSettings {
  /** The server's process. */
  readonly pid: number
  readonly nfsPort: number | undefined
  readonly export: string
  readonly webdavPort: number | undefined
  /** The path of a small file. */
  readonly webdavPath: string
  /** Whether WebDAV is encrypted. */
  readonly tls: boolean
  /** The client's address: another than that of the attackers. */
  readonly address: string
  /** The address from which new connections are made. */
  readonly newcomer: string
  /** The value of Authorization, if the server asks for it. */
  readonly authorization?: string | undefined
}

/** How long answers took. */
export interface Latency {
  readonly count: number
  readonly medianMs: number
  readonly worstMs: number
  /** The worst, without the time for which the server's main thread, or the probe, was ready and the machine ran something else. */
  readonly worstWithoutMachineMs: number
  readonly failures: readonly string[]
}

export interface ProbeReport {
  readonly getattr: Latency
  readonly get: Latency
  /** Of connecting, and the first answer. */
  readonly connecting: Latency
}

const PROGRAM = fileURLToPath(new URL('./latency-probe-program.ts', import.meta.url))

/** Another client of a server under attack. */
export class LatencyProbe {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Starts one; it is asked for what it saw by `take`, and has to be ended. */
  static async start(settings: ProbeSettings): Promise<LatencyProbe> {
    const { NODE_OPTIONS: _, ...env } = process.env
    const { file, args } = atOwnPriority(process.execPath, PROGRAM, JSON.stringify(settings))
    const child = spawn(file, args, { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const lost = once(child, 'exit').then(([status]) => {
      throw new Error(`the probe ended with ${status}`)
    })
    await Promise.race([once(child, 'message'), lost])
    lost.catch(() => undefined)
    return new LatencyProbe(child)
  }

  /** What was seen since the start, or since this was last asked. */
  async take(): Promise<ProbeReport> {
    const answer = once(this.#child, 'message')
    this.#child.send('take')
    const [report] = await answer
    return report as ProbeReport
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.send('end')
    await ended
  }
}
