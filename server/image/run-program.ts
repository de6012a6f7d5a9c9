import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** How a program ended. */
export interface Ended {
  readonly status: number | null
  /** The last lines that it printed on standard error. */
  readonly errors: string
}

const MOST_ERRORS = 4096

/** Runs a program and gives each line of its output to `take`. Undefined if it is not installed. */
export async function runProgram(
  program: string,
  args: readonly string[],
  take: (line: string) => void,
): Promise<Ended | undefined> {
  const child = spawn(program, [...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.on('data', (chunk) => {
    errors = (errors + String(chunk)).slice(-MOST_ERRORS)
  })
  createInterface({ input: child.stdout }).on('line', take)
  try {
    const [status] = await once(child, 'close')
    return { status, errors }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
