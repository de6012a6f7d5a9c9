import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Random } from '../../differential/random.ts'
import { build, snapshot } from '../../helpers/overlay.ts'
import { readCorpus } from './corpus.ts'
import { mutate } from './mutate.ts'

/** What a run found. */
export interface Findings {
  readonly problems: readonly string[]
  readonly requests: number
  /** How many answers had each status; `none` for connections closed without one. */
  readonly answers: Readonly<Record<string, number>>
}

const AT_ONCE = 16
/** Statuses above 499 that are answers, not faults. */
const HONEST = new Set(['501', '502', '503', '505', '507'])
const ANSWER_MS = 30_000
/** After the first bytes of an answer. */
const SILENCE_MS = 500
/** Resident at most: bodies of up to 1 MiB from several connections at a time leave garbage, which V8 collects when it likes. */
const MOST_BYTES = 512 * 1024 * 1024
/** In use at the end, garbage not counted: 50 to 81 MB were seen. */
const MOST_KEPT_BYTES = 128 * 1024 * 1024

/**
 * Sends requests of the corpus, changed at random, to a server in a process of its own, for so many seconds. A problem is: the server ends, logs
 * a fault, answers 500, does not answer, keeps descriptors, half-built files or much memory, changes a lower, or shows a file from outside.
 */
export async function fuzzWebdav(seed: number, seconds: number): Promise<Findings> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-fuzz-webdav-'))
  const tree = { 'd/a': 'content', 'd/sub/b': 'deep', 'e/': '' }
  for (const [name, content] of Object.entries({ lower: tree, upper: {}, work: {} })) build(join(dir, name), content)
  const before = snapshot(join(dir, 'lower'))
  // Without what a test runner wants to load into every Node.
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = fork(
    fileURLToPath(new URL('../../protocols/webdav/stall-program.ts', import.meta.url)),
    [`lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`],
    { env, execArgv: ['--expose-gc'] },
  )
  let ended = false
  const exit = once(child, 'exit').then(() => {
    ended = true
  })
  const problems: string[] = []
  const answers: Record<string, number> = {}
  let requests = 0
  try {
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    const until = Date.now() + seconds * 1000
    const random = new Random(seed)
    const corpus = readCorpus()
    const worker = async (own: Random) => {
      while (Date.now() < until && !ended && problems.length < 20) {
        const bytes = mutate(own, own.pick(corpus), own.pick(corpus))
        requests++
        const answer = await send(port, bytes)
        const status = answer === undefined ? 'silent' : (/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 'none')
        answers[status] = (answers[status] ?? 0) + 1
        if (
          status === 'silent' ||
          (status >= '500' && status < '600' && !HONEST.has(status)) ||
          /root:x:0/.test(answer ?? '')
        ) {
          problems.push(`${status}: ${JSON.stringify(bytes.toString('latin1').slice(0, 2000))}`)
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, () => worker(random.fork())))
    if (ended) problems.push('the server has ended')
    else problems.push(...(await inspect(child, dir)))
  } finally {
    if (!ended) child.send({ kind: 'end' })
    await exit
    if (snapshot(join(dir, 'lower')).join('\n') !== before.join('\n')) problems.push('a lower has changed')
    rmSync(dir, { recursive: true, force: true })
  }
  return { problems, requests, answers }
}

async function inspect(child: ReturnType<typeof fork>, dir: string): Promise<string[]> {
  const answer = once(child, 'message')
  child.send({ kind: 'report' })
  const [report] = (await answer) as [{ bytes: number; kept: number; faults: string[] }]
  const problems = report.faults.map((fault) => `logged: ${fault}`)
  if (report.bytes > MOST_BYTES) problems.push(`memory: ${Math.round(report.bytes / 1e6)} MB`)
  if (report.kept > MOST_KEPT_BYTES) problems.push(`memory in use: ${Math.round(report.kept / 1e6)} MB`)
  const settled = async (what: string, left: () => number) => {
    for (let tries = 0; left() > 0; tries++) {
      if (tries === 200) return void problems.push(`${what}: ${left()} left`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  await settled('half-built files', () => readdirSync(join(dir, 'work/work')).length)
  return problems
}

/** Sends all, says after a while that no more comes, and returns what came back until the server closed or fell silent; undefined when nothing ever came. */
function send(port: number, bytes: Buffer): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = ''
    const end = (answer: string | undefined) => {
      clearTimeout(timer)
      clearTimeout(closing)
      socket.destroy()
      resolve(answer)
    }
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    // A request that was cut short would wait for its rest.
    const closing = setTimeout(() => socket.end(), SILENCE_MS)
    let timer = setTimeout(() => end(undefined), ANSWER_MS)
    socket.on('data', (piece) => {
      if (text.length < 100_000) text += piece.toString('latin1')
      clearTimeout(timer)
      timer = setTimeout(() => end(text), SILENCE_MS)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => end(text))
  })
}
