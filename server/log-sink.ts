import { constants, openSync, write, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/** What waits to be written, at most. */
const MOST_BYTES = 1024 * 1024
/** When the reader does not take more, it is tried again after so long. */
const RETRY_MS = 100
/** How long an ending process waits for a reader that does not take the rest. */
const LAST_WAIT_MS = 500
const LAST_PAUSE_MS = 10

/** What the log counts. */
export interface LogCounters {
  /** Messages that were counted instead of written, because many like them came. */
  repeated: number
  /** Lines that nobody took in time. */
  lost: number
}

/**
 * A standard error that may be written to without ever waiting: a reader that stalls holds no thread and no exit up. What other processes share
 * with this one stays as it is where that is possible.
 */
export function openStandardError(): number {
  try {
    return openSync(
      '/proc/self/fd/2',
      constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY,
    )
  } catch {
    // A socket, as journald gives it, or a pipe of another user.
    return makeNonBlocking(2)
  }
}

/** For as long as the process runs: who closes it closes the descriptor. */
const kept: Socket[] = []

/** Sets a socket or pipe to answer instead of waiting. Others, such as terminals, stay as they are. */
function makeNonBlocking(fd: number): number {
  try {
    kept.push(new Socket({ fd, readable: false, writable: true }).unref())
  } catch (error) {
    if (!(error instanceof TypeError || (error as NodeJS.ErrnoException).code !== undefined)) throw error
  }
  return fd
}

/**
 * Writes lines to a descriptor in the background. While they are not taken, some memory is spent on them and no more: further lines are
 * lost and counted, and `regained` is told their number when lines are taken again.
 */
export class LogSink {
  readonly #fd: number
  readonly #counters: LogCounters
  readonly #regained: (lost: number) => void
  #waiting: string[] = []
  #waitingBytes = 0
  /** What was begun, or tried, and goes out first. */
  #rest: Buffer[] = []
  #busy = false
  #lostNow = 0

  constructor(fd: number, counters: LogCounters, regained: (lost: number) => void) {
    this.#fd = fd
    this.#counters = counters
    this.#regained = regained
  }

  /** Takes a line. Never waits. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line)
    if (this.#waitingBytes + bytes > MOST_BYTES) {
      this.#counters.lost++
      this.#lostNow++
      return
    }
    this.#waiting.push(line)
    this.#waitingBytes += bytes
    if (!this.#busy) this.#pump()
  }

  #pump(): void {
    const batch = this.#next()
    this.#busy = batch !== undefined
    if (batch === undefined) {
      this.#tellOfLost()
      return
    }
    write(this.#fd, batch, (error, written) => {
      this.#took(batch, error === null ? written : 0)
      if (error === null) this.#pump()
      else setTimeout(() => this.#pump(), RETRY_MS).unref()
    })
  }

  /** What is to be written next; it belongs to the write that is made of it. */
  #next(): Buffer | undefined {
    const rest = this.#rest.shift()
    if (rest !== undefined || this.#waiting.length === 0) return rest
    const batch = Buffer.from(this.#waiting.join(''))
    this.#waiting = []
    return batch
  }

  #took(batch: Buffer, bytes: number): void {
    this.#waitingBytes -= bytes
    if (bytes < batch.length) this.#rest.unshift(batch.subarray(bytes))
  }

  #tellOfLost(): void {
    if (this.#lostNow === 0) return
    const lost = this.#lostNow
    this.#lostNow = 0
    this.#regained(lost)
  }

  /** Writes what is left, at the end of the process; gives up when nobody takes it for a while. */
  finish(): void {
    const pause = new Int32Array(new SharedArrayBuffer(4))
    let waitedMs = 0
    for (let batch = this.#next(); batch !== undefined; batch = this.#next()) {
      const written = tryWrite(this.#fd, batch)
      this.#took(batch, written)
      if (written > 0) continue
      if (waitedMs >= LAST_WAIT_MS) return
      Atomics.wait(pause, 0, 0, LAST_PAUSE_MS)
      waitedMs += LAST_PAUSE_MS
    }
  }
}

/** The bytes that were taken: none when the reader is stalled or gone, or the disk full. */
function tryWrite(fd: number, batch: Buffer): number {
  try {
    return writeSync(fd, batch)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    return 0
  }
}
