import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { NfsClient } from '../../helpers/nfs-client.ts'
import { configuration } from '../../server/course.ts'
import { type Running, start } from '../../server/launch.ts'
import { type AskSnapshots, type AskViews, snapshotOrders, viewOrders } from '../../server/view-orders.ts'

const POINTS = fileURLToPath(new URL('./points.ts', import.meta.url))
const ANSWER_MS = 20_000

/** A server with the template `course`, in a process that is to be killed. */
export interface Victim {
  readonly nfs: NfsClient
  /** Resolves when the process has ended. */
  readonly died: Promise<void>
  readonly ask: AskViews
  readonly askSnapshots: AskSnapshots
  /** Starts counting the points, one of which kills it. */
  arm(): Promise<void>
  /** The number of points since `arm`. */
  passed(): Promise<number>
  kill(): Promise<void>
}

/** Makes a little material and a configuration for it in `dir`. Idle views are closed after a second. */
export function makeCourse(dir: string): void {
  mkdirSync(join(dir, 'material', 'sub'), { recursive: true })
  writeFileSync(join(dir, 'material', 'welcome.txt'), 'welcome')
  writeFileSync(join(dir, 'material', 'sub', 'a.txt'), 'A')
  const clients = '127.0.0.0/8(rw,no_root_squash,insecure)'
  const more = 'create = true\nidle = "1s"\nowner = "0:0"'
  writeFileSync(join(dir, 'o.toml'), configuration({ more, clients }))
}

/** Starts the server of `dir`. @param killAt the number of the point that kills it after `arm`; undefined: it has none and works as always */
export async function startVictim(dir: string, killAt: number | undefined): Promise<Victim> {
  const ends: (() => unknown)[] = []
  const test = { teardown: (end: () => unknown) => void ends.push(end) }
  const options = killAt === undefined ? {} : { nodeOptions: ['--import', POINTS], env: { KILL_AT: `${killAt}` } }
  const running = await start(test, ['serve', '--config', join(dir, 'o.toml')], options)
  const { child } = running
  const died = new Promise<void>((resolve) => child.once('close', () => resolve()))
  try {
    const ask = await viewOrders(running, join(dir, 'state'))
    const askSnapshots = await snapshotOrders(running, join(dir, 'state'))
    const nfs = await NfsClient.connect(running.nfsPort as number)
    void died.then(() => nfs.close())
    return {
      nfs,
      died,
      ask,
      askSnapshots,
      arm: async () => void (await signalled(running, /counting/)),
      passed: async () => Number((await signalled(running, /passed (\d+)/))[1]),
      kill: async () => {
        child.kill('SIGKILL')
        await died
      },
    }
  } catch (error) {
    for (const end of ends) end()
    throw error
  }
}

async function signalled({ child, stderr }: Running, answer: RegExp): Promise<RegExpExecArray> {
  child.kill('SIGUSR2')
  const until = Date.now() + ANSWER_MS
  for (;;) {
    const found = answer.exec(stderr())
    if (found !== null) return found
    if (Date.now() > until || child.exitCode !== null) throw new Error(`the server does not count: ${stderr()}`)
    await pause(5)
  }
}
