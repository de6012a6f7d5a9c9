import { constants, openSync, write, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/** The maximum number of bytes that wait to be written. */
const MOST_BYTES = 1024 * 1024
/** The interval between attempts while the reader is stalled. */
const RETRY_MS = 100
/** How long an ending process waits for a stalled reader. */
const LAST_WAIT_MS = 500
const LAST_PAUSE_MS = 10

/** The counters of the log. */
export interface LogCounters {
  /** Messages that were counted instead of written because there were many alike. */
  repeated: number
  /** Lines that were lost because nobody read the log in time. */
  lost: number
}

/**
 * A standard error descriptor that never blocks, so that a stalled reader delays neither a thread nor the exit. The open file description shared with
 * other processes is left unchanged if possible.
 */
export function openStandardError(): number {
  try {
    return openSync(
      '/proc/self/fd/2',
      constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY,
    )
  } catch {
    // A socket, such as journald's, or a pipe of another user.
    return makeNonBlocking(2)
  }
}

/** Kept for the life of the process, because closing the socket closes the descriptor. */
const kept: Socket[] = []

/** Makes a socket or pipe non-blocking. Other files, such as terminals, stay unchanged. */
function makeNonBlocking(fd: number): number {
  try {
    kept.push(new Socket({ fd, readable: false, writable: true }).unref())
  } catch (error) {
    if (!(error instanceof TypeError || (error as NodeJS.ErrnoException).code !== undefined)) throw error
  }
  return fd
}

/**
 * Writes lines to a descriptor in the background. While the reader is stalled, a limited amount of memory holds them; further lines are
 * lost and counted, and `regained` gets their number once writing works again.
 */
export class LogSink {
  readonly #fd: number
  readonly #counters: LogCounters
  readonly #regained: (lost: number) => void
  #waiting: string[] = []
  #waitingBytes = 0
  /** The rest of a partial write, which is written first. */
  #rest: Buffer[] = []
  #busy = false
  #lostNow = 0

  constructor(fd: number, counters: LogCounters, regained: (lost: number) => void) {
    this.#fd = fd
    this.#counters = counters
    this.#regained = regained
  }

  /** Adds a line. Never blocks. */
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

  /** The next bytes to write; the caller owns them. */
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

  /** Writes the remaining lines at the end of the process; gives up after a while if the reader is stalled. */
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

/** Returns the number of bytes written: 0 if the reader is stalled or gone, or the disk is full. */
function tryWrite(fd: number, batch: Buffer): number {
  try {
    return writeSync(fd, batch)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    return 0
  }
}
