import type { Logger } from 'pino'
import { type Clock, systemClock } from './clock.ts'
import type { StopRequest } from './shutdown.ts'

/** Exceptions outside every request that are borne within one window before the server gives up. */
const MOST = 10
const WINDOW_MS = 60_000

/** Faults that reached nobody: bugs. A request's own errors never come here. */
export interface Faults {
  uncaughtExceptions: number
  unhandledRejections: number
}

/**
 * Catches what escaped every protocol's own catch: logged at error, counted, and the server goes on, because a fault in one request must
 * not cut everyone else off and the layers are valid at every moment. When exceptions come in numbers something is broken for good:
 * then the server stops in order, with exit status 1, and its supervisor starts a new one (docs/adr/0005).
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
