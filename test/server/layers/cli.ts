import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const PROGRAM = join(import.meta.dirname, '../../../server/main.ts')

/** What a run of the command came to. */
export interface Ran {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** Runs `overlayd` with these words. */
export async function overlayd(...words: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, [PROGRAM, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, out, err }
}

/** Runs `overlayd … --json`, which must succeed, and returns what it printed. */
export async function overlaydJson<Result>(...words: readonly string[]): Promise<Result> {
  const { status, out, err } = await overlayd(...words, '--json')
  if (status !== 0) throw new Error(`overlayd ${words.join(' ')} ended with ${status}: ${err}`)
  return JSON.parse(out) as Result
}
