import { constants } from 'node:os'
import type { Logger } from 'pino'
import { type Clock, systemClock } from './clock.ts'

export const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/**
 * A terminal sends Ctrl-C to the whole process group, and npm and the launcher forward it: a signal that arrives so soon after
 * the first belongs to the same key press. SIGTERM has one sender and is never repeated like this.
 */
const ECHO_MS = 500

/** A request to stop the server, from a signal or from within. */
export interface StopRequest {
  /** Resolves at the first request, even if it came before anyone waited. */
  readonly requested: Promise<void>
  /** Requests a clean shutdown; `exitStatus` is the lowest status that the server will exit with. */
  request(exitStatus?: number): void
  readonly exitStatus: number
}

/**
 * Turns SIGTERM, SIGINT and SIGHUP into a stop request. A second signal ends the process at once with status 128 + its number:
 * nothing acknowledged as durable is lost, but later writes may be. `signals`: those that end the server.
 */
export function listenForSignals(
  log: Logger,
  clock: Clock = systemClock,
  exit: (status: number) => void = process.exit,
  signals: readonly (typeof STOP_SIGNALS)[number][] = STOP_SIGNALS,
): StopRequest {
  const { promise, resolve } = Promise.withResolvers<void>()
  let exitStatus = 0
  let firstAt: number | undefined
  for (const signal of signals) {
    process.on(signal, () => {
      const now = clock()
      if (firstAt === undefined) {
        firstAt = now
        log.info({ signal }, 'stopping')
        resolve()
      } else if (signal === 'SIGTERM' || now - firstAt > ECHO_MS) exit(128 + constants.signals[signal])
    })
  }
  return {
    requested: promise,
    request(status = 0) {
      exitStatus = Math.max(exitStatus, status)
      resolve()
    },
    get exitStatus() {
      return exitStatus
    },
  }
}
