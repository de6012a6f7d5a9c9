import type { Logger } from 'pino'
import type { ServiceManager } from '../config/index.ts'
import { sendDatagram } from '../overlay-core/index.ts'

/** How often the watchdog is told that the event loop runs, in each of its intervals. */
const TIMES_PER_INTERVAL = 3

/** Tells a service manager such as systemd the state of this process (sd_notify(3)). Without one, nothing happens. */
export class ServiceStates {
  readonly #to: string | undefined
  readonly #watchdogMs: number | undefined
  readonly #log: Pick<Logger, 'warn'>
  #timer: NodeJS.Timeout | undefined

  constructor({ notify, watchdogMs }: Pick<ServiceManager, 'notify' | 'watchdogMs'>, log: Pick<Logger, 'warn'>) {
    this.#to = notify
    this.#watchdogMs = watchdogMs
    this.#log = log
  }

  /** Every listener accepts connections. From now on the watchdog hears of this process as long as its event loop runs. */
  ready(text: string): void {
    this.#tell(`READY=1\nMAINPID=${process.pid}\nSTATUS=${oneLine(text)}`)
    if (this.#watchdogMs === undefined) return
    this.#timer = setInterval(() => this.#tell('WATCHDOG=1'), this.#watchdogMs / TIMES_PER_INTERVAL).unref()
  }

  /** What the server does now, for people. */
  status(text: string): void {
    this.#tell(`STATUS=${oneLine(text)}`)
  }

  /** The server is about to end. */
  stopping(): void {
    this.#tell('STOPPING=1\nSTATUS=finishing running requests')
  }

  /** Ends the messages to the watchdog. */
  close(): void {
    clearInterval(this.#timer)
  }

  #tell(text: string): void {
    if (this.#to === undefined) return
    try {
      sendDatagram(this.#to, text)
    } catch (error) {
      this.#log.warn({ err: error }, 'cannot tell the service manager the state of this process')
    }
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ')
}
