import { type Logger, pino } from 'pino'
import type { LogLevel } from '../config/index.ts'
import { cutFields, cutLine, messageOf, RepeatLimit } from './log-limits.ts'
import { type LogCounters, LogSink, openStandardError } from './log-sink.ts'

/** The length of the window in which equal messages are counted. */
const WINDOW_MS = 10_000

/** A log and its counters. */
export interface Log {
  readonly log: Logger
  readonly counters: LogCounters
  /** Logs which messages appeared more often than they were written, and resets the counts. */
  readonly sweep: () => void
  readonly sink: LogSink
}

/**
 * A log of JSON lines. All lines of the server, including Fastify's, are limited here: texts are cut, repeated messages are
 * counted instead of written, and lines that nobody reads are dropped and counted.
 */
export function makeLog(level: LogLevel | 'silent', fd: number): Log {
  const counters = { repeated: 0, lost: 0 }
  const limit = new RepeatLimit()
  let telling = false
  const tell = (write: () => void) => {
    telling = true
    write()
    telling = false
  }
  const sink = new LogSink(fd, counters, (lost) =>
    tell(() => log.warn({ lost }, 'lines before this one were lost because nobody read the log')),
  )
  const log: Logger = pino(
    {
      level,
      base: null,
      formatters: { log: cutFields },
      hooks: {
        streamWrite: cutLine,
        logMethod(args, method, number) {
          if (telling || limit.passes(number, messageOf(args))) method.apply(this, args)
          else counters.repeated++
        },
      },
    },
    sink,
  )
  const sweep = () => {
    for (const { level: number, message, more } of limit.sweep()) {
      tell(() => log[levelName(number)]({ more }, `${more} more like this: ${message}`))
    }
  }
  return { log, counters, sweep, sink }
}

function levelName(level: number): 'debug' | 'info' | 'warn' | 'error' {
  if (level < 30) return 'debug'
  if (level < 40) return 'info'
  return level < 50 ? 'warn' : 'error'
}

/** The log of this process on standard error, see `makeLog`. Remaining lines are written when the process ends. */
export function createLog(level: LogLevel): { readonly log: Logger; readonly counters: LogCounters } {
  const { log, counters, sweep, sink } = makeLog(level, openStandardError())
  setInterval(sweep, WINDOW_MS).unref()
  process.on('exit', () => {
    sweep()
    sink.finish()
  })
  return { log, counters }
}

/** The logs of the listeners, by the log that they belong to: a child of pino keeps the level that it was made with. */
const listenerLogs = new WeakMap<Logger, Logger[]>()

/** The log of one listener, named in `listener`. Its level follows `setLevel`. */
export function logOf(log: Logger, listener: string): Logger {
  const child = log.child({ listener })
  listenerLogs.set(log, [...(listenerLogs.get(log) ?? []), child])
  return child
}

/** Changes the level of a log and of those of its listeners. */
export function setLevel(log: Logger, level: LogLevel): void {
  log.level = level
  for (const child of listenerLogs.get(log) ?? []) child.level = level
}
