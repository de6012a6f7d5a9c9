import type { Logger } from 'pino'
import { type Clock, systemClock } from './clock.ts'
import type { StopRequest } from './shutdown.ts'

/** The number of uncaught exceptions within one window after which the server stops. */
const MOST = 10
const WINDOW_MS = 60_000

/** Counts faults: errors that no handler caught, and therefore bugs. Errors of requests are not counted here. */
export interface Faults {
  uncaughtExceptions: number
  unhandledRejections: number
}

/**
 * Handles exceptions that no protocol caught: they are logged as errors and counted, and the server continues, because a fault in one request must
 * not affect other clients and the layers are valid at every moment. Many exceptions mean that something is permanently broken:
 * the server then shuts down cleanly with exit status 1, and its supervisor starts a new one (docs/adr/0005).
 */
export function installFaultPolicy(log: Logger, stop: StopRequest, clock: Clock = systemClock): Faults {
  const faults: Faults = { uncaughtExceptions: 0, unhandledRejections: 0 }
  const recent: number[] = []
  const bear = (error: unknown, what: string) => {
    log.error({ err: error }, what)
    const now = clock()
    recent.push(now)
    while (recent[0]! <= now - WINDOW_MS) recent.shift()
    if (recent.length <= MOST) return
    log.fatal(`stopping after ${recent.length} uncaught exceptions within a minute`)
    stop.request(1)
  }
  process.on('uncaughtException', (error) => {
    faults.uncaughtExceptions++
    bear(error, 'uncaught exception')
  })
  process.on('unhandledRejection', (reason) => {
    faults.unhandledRejections++
    bear(reason, 'unhandled rejection')
  })
  return faults
}
