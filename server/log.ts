import { type Logger, pino } from 'pino'
import type { LogLevel } from '../config/index.ts'

/**
 * The log: JSON lines on standard error. Writing is asynchronous, so a terminal or pipe that does not take them costs
 * memory and never a request; what is left is written at exit.
 */
export function createLog(level: LogLevel): Logger {
  return pino({ level, base: null }, pino.destination({ fd: 2, sync: false }))
}
