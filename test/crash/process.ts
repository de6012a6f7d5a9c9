/** Child processes by fork(2): they start with all modules loaded and warm, in a millisecond, where a new process takes a hundred. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { bind } from '../../overlay-core/sys/call.ts'

const MADV_DOFORK = 11
const SIGKILL = 9
const HIGHEST_ADDRESS = 2 ** 47

const forkFunction = bind<[]>('int fork()')
const madvise = bind<[address: number, length: number, advice: number]>('int madvise(uintptr_t, size_t, int)')
const waitpid = bind<[pid: number, status: Uint8Array, options: number]>('int waitpid(int, void *, int)')
const killFunction = bind<[pid: number, signal: number]>('int kill(int, int)')
const getpid = bind<[]>('int getpid()')
const exitNow = bind<[code: number]>('void _exit(int)')
const alarm = bind<[seconds: number]>('uint32_t alarm(uint32_t)')

/** How a child ended. */
export interface Ending {
  /** 0 unless a signal ended it. */
  readonly signal: number
  readonly code: number
}

/**
 * Forks; the child runs `work` and exits with 0, or with 1 after `failed` was called. It is killed by SIGALRM when it takes longer than
 * `limitSeconds`. Returns the child's process id. The caller must have nothing under way on its event loop, and the process must run
 * with `--single-threaded`, as only the calling thread lives on in the child.
 */
export function startChild(work: () => Promise<void>, failed: (error: unknown) => void, limitSeconds: number): number {
  inheritEverything()
  const pid = forkFunction()
  if (pid !== 0) return pid
  alarm(limitSeconds)
  work().then(
    () => exitNow(0),
    (error) => {
      failed(error)
      exitNow(1)
    },
  )
  return 0
}

/** V8 keeps its heap from forked children (MADV_DONTFORK); here it is wanted. Again until reading the list has not added to it. */
function inheritEverything(): void {
  let last: string | undefined
  for (;;) {
    const maps = readFileSync('/proc/self/maps', 'latin1')
    if (maps === last) return
    last = maps
    for (const [, start, end] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) /gm)) {
      const [from, to] = [Number.parseInt(start as string, 16), Number.parseInt(end as string, 16)]
      if (to <= HIGHEST_ADDRESS) madvise(from, to - from, MADV_DOFORK)
    }
  }
}

/** Waits, without running the event loop, until the child has ended with all of its threads. */
export function waitFor(pid: number): Ending {
  const status = Buffer.alloc(4)
  for (;;) {
    const result = waitpid(pid, status, 0)
    if (result === pid) break
    if (result < 0) throw new Error(`waitpid ${pid} failed`)
  }
  const word = status.readInt32LE(0)
  return { signal: word & 0x7f, code: (word >> 8) & 0xff }
}

/** Whether the child has ended; it is still to be waited for. */
export function hasEnded(pid: number): boolean {
  return stateOf(pid) === 'Z'
}

/** The letter of the process state: behind the name, which is in brackets. */
function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, '')[0] ?? ''
}

/** Sends SIGKILL. */
export function killChild(pid: number): void {
  killFunction(pid, SIGKILL)
}

/** Ends this process at once, as `kill -9` does. */
export function killSelf(): void {
  killFunction(getpid(), SIGKILL)
  // The signal is delivered on return from the call; should another thread get it first, nothing may happen here meanwhile.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
}

/** Sleeps without running the event loop. */
export function sleepBlocking(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** Random bytes of the system, in a forked child as well (node:crypto keeps a state that both would share). */
export function systemRandom(length: number): Uint8Array {
  const fd = openSync('/dev/urandom', 'r')
  const bytes = new Uint8Array(length)
  readSync(fd, bytes)
  closeSync(fd)
  return bytes
}
