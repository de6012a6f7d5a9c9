import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** How `mortal-server-program.ts` is to serve. */
export interface MortalSettings {
  /** For `parseOptions` of the core. */
  readonly options: string
  /** The file of the kept replies. */
  readonly replies: string
  /**
   * When it kills itself: `done` after so many changes, none of which is answered, `answered` when so many replies have been kept.
   * Unless given, it is killed from outside.
   */
  readonly dies?: { readonly when: 'done' | 'answered'; readonly after: number }
}

/** A process that serves an overlay as `/overlay` over NFS. */
export interface MortalServer {
  readonly port: number
  /** Resolves when the process has died of SIGKILL, by its own hand. @throws Error it ended otherwise */
  readonly died: Promise<void>
  kill(): Promise<void>
}

const PROGRAM = fileURLToPath(new URL('./mortal-server-program.ts', import.meta.url))

/** Starts one; it is killed when the test ends. */
export async function startMortalServer(t: Test, settings: MortalSettings): Promise<MortalServer> {
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(settings)], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const died = ended.then(([status, signal]) => {
    if (signal !== 'SIGKILL') throw new Error(`the server ended with ${status ?? signal}`)
  })
  died.catch(() => undefined)
  return {
    port: await portOf(child, ended),
    died,
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function portOf(child: ChildProcess, ended: Promise<unknown>): Promise<number> {
  const [printed] = await Promise.race([
    once(child.stdout!, 'data') as Promise<[Buffer]>,
    ended.then(() => {
      throw new Error('the server did not start')
    }),
  ])
  return Number(printed.toString())
}
