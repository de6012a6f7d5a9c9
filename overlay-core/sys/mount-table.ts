import fs from 'node:fs'
import { readFile } from 'node:fs/promises'
import { bind } from './call.ts'

const MOUNTINFO = '/proc/self/mountinfo'
const SIZE_OF_POLLFD = 8
const POLLPRI = 2
const POLLERR = 8

const poll = bind<[fds: Uint8Array, count: number, timeoutMs: number]>('int poll(void *, uint64_t, int)')

/** A line of mountinfo: see proc_pid_mountinfo(5). */
export interface Mount {
  readonly parent: number
  readonly fileSystem: string
  /** The part of the file system that is mounted. */
  readonly root: string
  readonly point: string
}

/** The open file that tells whether the table has changed since it was last read. */
let watch = -1
let known: Promise<ReadonlyMap<number, Mount>> | undefined

/** The mounts of this process by their ids. The table is read again only if it has changed. */
export async function mountTable(): Promise<ReadonlyMap<number, Mount>> {
  if (watch < 0) watch = fs.openSync(MOUNTINFO, 'r')
  if (hasChanged(watch)) known = undefined
  known ??= readMounts().catch((error: unknown) => {
    known = undefined
    throw error
  })
  return await known
}

/** Whether mounts have changed since the last call. Never waits. */
function hasChanged(fd: number): boolean {
  // struct pollfd: fd 32 bits, events 16, returned events 16.
  const asked = new DataView(new ArrayBuffer(SIZE_OF_POLLFD))
  asked.setInt32(0, fd, true)
  asked.setInt16(4, POLLPRI, true)
  poll(new Uint8Array(asked.buffer), 1, 0)
  return (asked.getInt16(6, true) & (POLLPRI | POLLERR)) !== 0
}

async function readMounts(): Promise<Map<number, Mount>> {
  const mounts = new Map<number, Mount>()
  for (const line of (await readFile(MOUNTINFO, 'utf8')).split('\n')) {
    const [id, parent, fileSystem, root, point] = line.split(' ')
    if (id === undefined || parent === undefined || fileSystem === undefined || !root || !point) continue
    mounts.set(Number(id), { parent: Number(parent), fileSystem, root: unescaped(root), point: unescaped(point) })
  }
  return mounts
}

/** mountinfo escapes blanks and similar characters in octal. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
