import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Looks at a process from outside, by /proc. */
export class ProcessMeter {
  readonly pid: number

  constructor(pid: number) {
    this.pid = pid
  }

  /** Memory that is resident, MiB. */
  residentMiB(): number {
    return this.#statusKiB('VmRSS') / 1024
  }

  /** The most that was resident since the start or the last `resetPeak`, MiB. */
  peakMiB(): number {
    return this.#statusKiB('VmHWM') / 1024
  }

  resetPeak(): void {
    writeFileSync(`/proc/${this.pid}/clear_refs`, '5')
  }

  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  /** Processor time of all its threads, ms. */
  cpuMs(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'latin1').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  }

  /** Processes that it has started and that run. */
  children(): number {
    return readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'latin1').split(' ').filter(Boolean).length
  }

  get alive(): boolean {
    try {
      return !readFileSync(`/proc/${this.pid}/stat`, 'latin1').includes(') Z ')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return false
    }
  }

  #statusKiB(field: string): number {
    const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${this.pid}/status`, 'latin1'))
    if (found === null) throw new Error(`process ${this.pid} has ended`)
    return Number(found[1])
  }
}

/** How long a thread has waited for a processor since it began, ms; 0 where the kernel does not count it. */
export function waitedMs(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1').split(' ')[1]) / 1e6
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && (error as NodeJS.ErrnoException).code !== 'ESRCH')
      throw error
    return 0
  }
}
