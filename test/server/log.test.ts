import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { makeLog } from '../../server/log.ts'
import { cutLine, RepeatLimit } from '../../server/log-limits.ts'
import { openStandardError } from '../../server/log-sink.ts'
import { plainly } from './launch.ts'

type Line = { level: number; msg: string; [name: string]: unknown }

function parse(text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}

/** A log into a file. */
function logOf(t: Test) {
  const path = join(t.testdir(), 'log')
  const fd = openSync(path, 'a')
  t.teardown(() => closeSync(fd))
  const made = makeLog('debug', fd)
  const text = () => {
    const all = readFileSync(path, 'utf8')
    return all.slice(0, all.lastIndexOf('\n') + 1)
  }
  return { ...made, text, lines: () => parse(text()) }
}

async function waitFor(condition: () => boolean, what: string): Promise<void> {
  const until = performance.now() + 60_000
  while (!condition()) {
    if (performance.now() > until) throw new Error(`in vain: ${what}`)
    await setTimeout(5)
  }
}

t.test('every text in a line is cut, however it got there', async (t) => {
  const { log, lines, text } = logOf(t)
  const long = 'x'.repeat(1_000_000)
  let deep: object = { end: long }
  for (let i = 0; i < 100; i++) deep = { deep, long }
  log.warn(long)
  log.warn({ url: long }, 'a URL')
  log.warn({ deep, many: Array(10_000).fill(long), [long]: 1 }, 'all sorts')
  log.error({ err: new Error(long, { cause: new Error(long) }) }, 'an error')
  log.debug({ long: { toJSON: () => long } }, 'what makes text of itself')
  log.error(new Error(long))
  const child = log.child({ door: 'http', long }, { serializers: { req: (req) => ({ url: req.url }) } })
  child.info({ req: { url: long } }, 'a request')
  await waitFor(() => lines().length === 7, 'seven lines')
  for (const line of text().split('\n')) t.ok(line.length < 8_300, `${line.length} characters`)
  const [first, url, , error] = lines()
  t.equal(first?.msg, `${'x'.repeat(300)}… (1000000 characters)`)
  t.equal(url?.msg, 'a URL')
  t.match(error, { err: { type: 'Error', stack: /… \(1000007 characters\)\n.*log\.test/s } })
})

t.test('short lines stay as they are', async (t) => {
  const line = '{"level":30,"msg":"stopped"}\n'
  t.equal(cutLine(line), line)
})

t.test('a message that comes in numbers is written some times, then counted, and told once', async (t) => {
  const { log, lines, sweep, counters } = logOf(t)
  for (let i = 0; i < 5_000; i++) log.warn({ i }, 'a malformed request')
  log.warn('another')
  await waitFor(() => lines().length === 21, 'what passes is written')
  t.equal(counters.repeated, 4_980)
  sweep()
  sweep()
  await waitFor(() => lines().length === 22, 'the rest is told')
  t.match(lines().at(-1), { level: 40, more: 4_980, msg: '4980 more like this: a malformed request' })
  log.warn('a malformed request')
  await waitFor(() => lines().length === 23, 'it is written in the next window')
})

t.test('messages that are all different share a limit too', async (t) => {
  const limit = new RepeatLimit()
  let passed = 0
  for (let i = 0; i < 50_000; i++) if (limit.passes(40, `no such thing: ${i}`)) passed++
  t.equal(passed, 120)
  t.same(limit.sweep(), [{ level: 40, message: 'messages of other kinds', more: 49_880 }])
  for (let i = 0; i < 100; i++) t.ok(limit.passes(60, 'the last words'))
})

t.test('a reader that stalls costs some memory and no more; what was lost is told when it reads again', async (t) => {
  const path = join(t.testdir(), 'fifo')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  t.teardown(() => closeSync(reader))
  t.teardown(() => closeSync(writer))
  const { log, counters, sink } = makeLog('info', writer)
  const filler = Array.from({ length: 16 }, () => 'y'.repeat(300))
  for (let i = 0; i < 5_000; i++) log.fatal({ filler }, 'a line')
  t.ok(counters.lost > 4_000, `${counters.lost} lost`)
  const started = performance.now()
  sink.finish()
  t.ok(performance.now() - started < 5_000, 'the end does not wait for it')
  let text = ''
  const buffer = Buffer.alloc(65_536)
  const take = () => {
    try {
      text += buffer.toString('latin1', 0, readSync(reader, buffer))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
    return text.includes('nobody read the log')
  }
  await waitFor(take, 'the loss is told')
  const written = text.split('\n').filter((line) => line.includes('"a line"')).length
  t.equal(written + counters.lost, 5_000, 'each line was written or counted')
})

const PROGRAM = `
  const { createLog } = await import(process.argv[1])
  const { log, counters } = createLog('info')
  process.on('exit', () => process.stdout.write(JSON.stringify(counters)))
  for (let i = 0; i < 2000; i++) log.fatal({ filler: Array(16).fill('y'.repeat(300)) }, 'a line')
`

for (const stdio of ['pipe', 'socket'] as const) {
  t.test(`a process whose standard error is a stalled ${stdio} ends`, async (t) => {
    const { file, args, env } = plainly(process.execPath, '--input-type=module', '-e', PROGRAM)
    const log = new URL('../../server/log.ts', import.meta.url).pathname
    // What spawn calls a pipe is a socket; bash makes a pipe, which nobody reads.
    const piped = ['bash', '-c', 'exec 2> >(exec sleep 30 >/dev/null 2>&1); exec "$@"', 'bash']
    const [program = '', ...rest] = [...(stdio === 'socket' ? [] : piped), file, ...args, log]
    const child = spawn(program, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    t.teardown(() => {
      child.kill('SIGKILL')
      child.stdout?.destroy()
      child.stderr?.destroy()
    })
    child.stderr?.pause()
    let told = ''
    child.stdout?.on('data', (piece) => {
      told += piece
    })
    const started = performance.now()
    const [status] = await once(child, 'exit')
    t.equal(status, 0)
    t.ok(performance.now() - started < 15_000, 'before its reader')
    await waitFor(() => told !== '', 'the counters')
    t.ok(JSON.parse(told).lost > 500, told)
  })
}

t.test('standard error of this process can be opened', async (t) => {
  const fd = openStandardError()
  t.ok(fd >= 2)
  if (fd > 2) closeSync(fd)
})
