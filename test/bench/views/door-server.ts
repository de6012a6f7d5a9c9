import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { LongestStalls } from '../../helpers/stalls.ts'
import { configuration } from '../../server/course.ts'
import { start } from '../../server/launch.ts'
import { type AskViews, viewOrders } from '../../server/view-orders.ts'

/** Views that requests make on top of those that are there before. */
const ROOM = 2000
/** The user that all views belong to: no account is needed for a view. */
export const OWNER = process.geteuid?.() === 0 ? 1000 : (process.geteuid?.() as number)
/** Of USER_HZ, in which the kernel counts processor time. */
const TICK_MS = 10
const STALL_WATCH = fileURLToPath(new URL('./stall-watch.ts', import.meta.url))

/** A running server with the template `course`. */
export interface DoorServer {
  readonly nfsPort: number
  readonly webdav: URL
  readonly ask: AskViews
  /** Its processor time so far, in ms. */
  cpuMs(): number
  /** Its resident memory. */
  residentKiB(): number
  descriptors(): number
  /** The longest stalls of its event loop since the last call. */
  longestStalls(): Promise<LongestStalls>
  stop(): Promise<void>
}

/** Starts a server in the new directory `dir`, with a template that makes views over `lower` on demand. */
export async function startDoorServer(dir: string, lower: string, views: number): Promise<DoorServer> {
  mkdirSync(dir)
  const config = join(dir, 'overlayd.toml')
  const more = `create = true\nidle = "10m"\nowner = "${OWNER}:${OWNER}"\nmax_views = ${views + ROOM}`
  writeFileSync(config, configuration({ material: lower, more }))
  const ends: (() => unknown)[] = []
  const running = await start({ teardown: (end) => void ends.push(end) }, ['serve', '--config', config], {
    nodeOptions: ['--import', STALL_WATCH],
  })
  const pid = running.child.pid as number
  const proc = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'latin1')
  return {
    nfsPort: running.nfsPort as number,
    webdav: new URL(running.webdavUrl as string),
    ask: await viewOrders(running, join(dir, 'state')),
    cpuMs: () => {
      const fields = proc('stat')
        .replace(/^.*\) /, '')
        .split(' ')
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS
    },
    residentKiB: () => Number(/^VmRSS:\s+(\d+)/m.exec(proc('status'))?.[1]),
    descriptors: () => readdirSync(`/proc/${pid}/fd`).length,
    longestStalls: async () => {
      const printed = () => [...running.stderr().matchAll(/^longest stalls (.+)$/gm)]
      const before = printed().length
      running.child.kill('SIGUSR2')
      while (printed().length === before) await pause(5)
      return JSON.parse(printed().at(-1)?.[1] as string) as LongestStalls
    },
    stop: async () => {
      await running.stop()
      for (const end of ends) await end()
    },
  }
}
