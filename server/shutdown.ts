import { constants } from 'node:os'
import type { Logger } from 'pino'
import { type Clock, systemClock } from './clock.ts'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/**
 * A terminal sends Ctrl-C to the whole process group, and npm and the launcher pass it on once more: what arrives so soon after
 * the first is the same key press, not a second wish. SIGTERM comes from one sender and is never an echo.
 */
const ECHO_MS = 500

/** The wish that the server end, from a signal or from within. */
export interface StopRequest {
  /** Resolves at the first wish, also when it came before anyone waited. */
  readonly requested: Promise<void>
  /** Asks the server to end in order; `exitStatus` is the least it will exit with. */
  request(exitStatus?: number): void
  readonly exitStatus: number
}

/**
 * Turns SIGTERM, SIGINT and SIGHUP into a stop request. A second signal ends the process at once with 128 + its number:
 * nothing is lost that was acknowledged as durable, but later writes may be.
 */
export function listenForSignals(
  log: Logger,
  clock: Clock = systemClock,
  exit: (status: number) => void = process.exit,
): StopRequest {
  const { promise, resolve } = Promise.withResolvers<void>()
  let exitStatus = 0
  let firstAt: number | undefined
  for (const signal of SIGNALS) {
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
