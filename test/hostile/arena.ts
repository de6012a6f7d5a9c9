import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ADDRESSES } from './addresses.ts'
import type { Check, Figure } from './attack.ts'
import type { Fixtures } from './fixtures.ts'
import { LatencyProbe, type ProbeReport } from './latency-probe.ts'
import { Target, type TargetOptions } from './target.ts'

/** What every attack may cost. */
export const LIMITS = {
  /** The longest that another client waits for an answer. */
  stallMs: 50,
  peakMiB: 512,
  /** Ten seconds after the load. */
  afterMiB: 300,
} as const

/** A new client connects, asks twice and leaves in this time. */
const CONNECTING_MS = 1000
/** A stall that the machine made does not come again. */
const TRIES = 3

/** What an attack measures beside what it does. */
export interface LoadOptions {
  /** Anything that has to be as it was between two tries. */
  readonly again?: () => Promise<void>
  /** How often an attack is made at most, until it has not stalled anybody. */
  readonly tries?: number
  /** True: the server may close connections to make room, and clients connect anew. */
  readonly closes?: boolean
  /** False: new clients cannot be expected to be served, as the attack is about something else. */
  readonly connecting?: boolean
  /** How the other client logs in, if it has to. */
  readonly authorization?: string
}

/** Where one attack takes place: a folder, the servers in it, and the figures that came of it. */
export class Arena {
  readonly dir: string
  readonly quick: boolean
  readonly fixtures: Fixtures
  readonly figures: Figure[] = []
  readonly checks: Check[] = []
  readonly #undo: (() => Promise<unknown> | unknown)[] = []

  constructor(dir: string, fixtures: Fixtures, quick: boolean) {
    this.dir = dir
    this.fixtures = fixtures
    this.quick = quick
    mkdirSync(dir, { recursive: true })
  }

  /** A number of things: in the quick run fewer. */
  size(whole: number, quick: number): number {
    return this.quick ? quick : whole
  }

  /** A folder in the arena. */
  folder(name: string): string {
    const path = join(this.dir, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  /** Writes a file of the arena and returns its path. */
  write(name: string, text: string, mode: number): string {
    const path = join(this.dir, name)
    writeFileSync(path, text, { mode })
    return path
  }

  read(name: string): string {
    return readFileSync(join(this.dir, name), 'utf8')
  }

  /** The words of `-o` for lowers and an upper of the arena's own. */
  overlay(...lowers: string[]): string {
    const all = lowers.length > 0 ? lowers : [this.folder('lower')]
    return `lowerdir=${all.join(':')},upperdir=${this.folder('upper')},workdir=${this.folder('work')}`
  }

  /** Starts a server; it is stopped with the arena. */
  async start(options: TargetOptions): Promise<Target> {
    const target = await Target.start(this.dir, options)
    this.defer(() => target.stop())
    return target
  }

  /** Does this at the end of the attack, the last first. */
  defer(undo: () => Promise<unknown> | unknown): void {
    this.#undo.push(undo)
  }

  figure(name: string, value: number, unit: string, limit?: number): void {
    this.figures.push({ name, value, unit, ...(limit !== undefined && { limit }) })
  }

  check(name: string, ok: boolean, detail: unknown = ''): void {
    this.checks.push({ name, ok, detail: String(detail) })
  }

  /**
   * Runs an attack while another client asks for attributes and a small file, and notes what it cost: the longest that this client waited, memory at its peak and ten seconds
   * after, descriptors, log.
   */
  async underLoad(target: Target, attack: () => Promise<void>, options: LoadOptions = {}): Promise<ProbeReport> {
    const probe = await LatencyProbe.start({
      pid: target.meter.pid,
      nfsPort: target.nfsPort,
      export: target.exportPath,
      webdavPort: target.webdavPort,
      webdavPath: target.smallFile,
      tls: target.tls,
      address: ADDRESSES.probe,
      newcomer: ADDRESSES.newcomer,
      authorization: options.authorization,
    })
    try {
      // Code that runs for the first time is compiled first.
      await sleep(500)
      await probe.take()
      target.meter.resetPeak()
      const before = { descriptors: target.meter.descriptors(), logBytes: target.logBytes }
      const watch = watchDescriptors(target)
      let best = await this.#once(probe, attack)
      for (let tries = 1; tries < (options.tries ?? TRIES) && stallOf(best) >= LIMITS.stallMs; tries++) {
        await options.again?.()
        const next = await this.#once(probe, attack)
        if (stallOf(next) < stallOf(best)) best = next
      }
      const descriptors = watch.end()
      this.#noteLatency(best, options)
      this.figure('memory, peak', target.meter.peakMiB(), 'MiB', LIMITS.peakMiB)
      this.figure('memory, 10 s after', await this.#memoryAfter(target), 'MiB', LIMITS.afterMiB)
      this.figure('descriptors', descriptors - before.descriptors, '')
      this.figure('log', (target.logBytes - before.logBytes) / 1024, 'KiB')
      return best
    } finally {
      await probe.end()
    }
  }

  async #once(probe: LatencyProbe, attack: () => Promise<void>): Promise<ProbeReport> {
    await probe.take()
    await attack()
    return await probe.take()
  }

  #noteLatency({ getattr, get, connecting }: ProbeReport, options: LoadOptions): void {
    const connects = options.connecting ?? true
    this.figure('GETATTR of another', getattr.worstWithoutMachineMs, 'ms', LIMITS.stallMs)
    this.figure('GET of another', get.worstWithoutMachineMs, 'ms', LIMITS.stallMs)
    this.figure('both, machine included', Math.max(getattr.worstMs, get.worstMs), 'ms')
    if (connects) this.figure('a new client', connecting.worstWithoutMachineMs, 'ms', CONNECTING_MS)
    const all = [...getattr.failures, ...get.failures, ...(connects ? connecting.failures : [])]
    const failures = all.filter((failure) => !(options.closes && failure.includes('connection closed')))
    this.check('another client is served', failures.length === 0, failures.slice(0, 3).join('; '))
  }

  /** In the quick run as soon as it is below the limit. */
  async #memoryAfter({ meter }: Target): Promise<number> {
    for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 250) {
      if (this.quick && meter.residentMiB() < LIMITS.afterMiB) break
      await sleep(250)
    }
    return meter.residentMiB()
  }

  /** Undoes what was deferred. Returns what went wrong with it. */
  async clear(): Promise<string[]> {
    const failures: string[] = []
    for (const undo of this.#undo.reverse()) {
      try {
        await undo()
      } catch (error) {
        failures.push(String(error))
      }
    }
    return failures
  }
}

function stallOf({ getattr, get }: ProbeReport): number {
  return Math.max(getattr.worstWithoutMachineMs, get.worstWithoutMachineMs)
}

/** The most descriptors that a server had open. */
function watchDescriptors({ meter }: Target): { end(): number } {
  let most = meter.descriptors()
  const timer = setInterval(() => {
    if (meter.alive) most = Math.max(most, meter.descriptors())
  }, 100)
  return {
    end() {
      clearInterval(timer)
      return most
    },
  }
}
