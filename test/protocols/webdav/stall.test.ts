import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { lockInfo, until } from './dav-fixture.ts'

/** The longest turn of the event loop that is borne, and how much memory one case may take: most of that is garbage that V8 has not collected yet, the more the busier the machine. */
const LONGEST_MS = 20
const MOST_BYTES = 192 * 1024 * 1024
/** What may still be in use afterwards, caches included. */
const MOST_KEPT_BYTES = 32 * 1024 * 1024
const CHILDREN = 1000

interface Report {
  readonly longestMs: number
  readonly bytes: number
  /** How much more is in use than before, garbage not counted. */
  readonly kept: number
  readonly faults: readonly string[]
  readonly counters: Readonly<Record<string, number>>
}

class Server {
  readonly child: ChildProcess
  readonly dir: string
  port = 0
  readonly agent = new Agent({ connections: 32, pipelining: 1 })

  constructor(dir: string) {
    this.dir = dir
    // Without what the test runner wants to load into every Node.
    const { NODE_OPTIONS: _, ...env } = process.env
    this.child = fork(
      fileURLToPath(new URL('./stall-program.ts', import.meta.url)),
      [`lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`],
      // As the launcher starts a server.
      { env, execArgv: ['--expose-gc', '--max-semi-space-size=4', '--no-parallel-scavenge'] },
    )
  }

  async open(): Promise<void> {
    this.port = (await this.#next<{ port: number }>()).port
  }

  async tell<T>(message: { kind: string; ms?: number }): Promise<T> {
    const answer = this.#next<T>()
    this.child.send(message)
    return await answer
  }

  async #next<T>(): Promise<T> {
    const [message] = await once(this.child, 'message')
    return message as T
  }

  /** On a busy machine the server may close an idle connection in the moment in which it is used again: then the client asks on another one. */
  async ask(method: string, path: string, headers: Record<string, string> = {}, body: string | Buffer = '') {
    const once = () => this.#askOnce(method, path, headers, body)
    return await once().catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET') throw error
      return once()
    })
  }

  async #askOnce(method: string, path: string, headers: Record<string, string>, body: string | Buffer) {
    const answer = await request(`http://127.0.0.1:${this.port}/overlay/${path}`, {
      method: method as 'GET',
      headers,
      body: body.length === 0 ? null : body,
      dispatcher: this.agent,
    })
    let length = 0
    for await (const piece of answer.body) length += (piece as Buffer).length
    return { status: answer.statusCode, headers: answer.headers, length }
  }

  async end(): Promise<void> {
    await this.agent.destroy()
    this.child.send({ kind: 'end' })
    if (this.child.exitCode === null) await once(this.child, 'exit')
  }
}

/** How often work is done again before its longest turn counts: a collection of garbage that falls into one run is not in all, a loop that is too long is. */
const MOST_TRIES = 6

/**
 * Runs `work` and checks what it cost the server. What it does first, so that caches and compiled code are as in a server that runs, is not
 * measured; `before` makes it possible again.
 */
async function measured(
  t: Test,
  server: Server,
  work: () => Promise<void>,
  {
    warmUp = work,
    before = () => Promise.resolve(),
  }: { warmUp?: () => Promise<void>; before?: () => Promise<void> } = {},
): Promise<void> {
  await warmUp()
  let longestMs = Number.POSITIVE_INFINITY
  for (let tries = 0; tries < MOST_TRIES && longestMs >= LONGEST_MS; tries++) {
    await before()
    const { bytes } = await server.tell<{ bytes: number }>({ kind: 'reset' })
    await work()
    const report = await server.tell<Report>({ kind: 'report' })
    const grown = Math.round((report.bytes - bytes) / 1024 / 1024)
    longestMs = Math.min(longestMs, report.longestMs)
    t.ok(report.bytes - bytes < MOST_BYTES, `memory grew by ${grown} MiB at most`)
    t.ok(report.kept < MOST_KEPT_BYTES, `${(report.kept / 1024 / 1024).toFixed(1)} MiB stay in use`)
    t.same(report.faults, [], 'no fault')
  }
  t.ok(longestMs < LONGEST_MS, `the longest turn took ${longestMs.toFixed(1)} ms of CPU time`)
}

const names = (bytes: number) => {
  let list = ''
  for (let i = 0; list.length < bytes; i++) list += `<x:with-a-longer-name-${i}/>`
  return list
}
const propfind = (content: string) =>
  `<D:propfind xmlns:D="DAV:" xmlns:x="urn:x"><D:prop>${content}</D:prop></D:propfind>`
const proppatch = (content: string) =>
  `<D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x"><D:set><D:prop>${content}</D:prop></D:set></D:propertyupdate>`

t.setTimeout(300_000)
const dir = t.testdir({ lower: { d: {}, locks: {} }, upper: {}, work: {} })
for (let i = 0; i < CHILDREN; i++) writeFileSync(join(dir, 'lower/d', `child-${i}`), 'x')
writeFileSync(join(dir, 'lower/big'), Buffer.alloc(64 * 1024 * 1024, 'x'))
mkdirSync(join(dir, 'lower/locks/sub'))
const server = new Server(dir)
t.teardown(() => server.end())
await server.open()

t.test('a PROPFIND that asks for 19 KB of names, over 1,000 children', async (t) => {
  await measured(t, server, async () => {
    const answer = await server.ask('PROPFIND', 'd', { depth: '1' }, propfind(names(19_000)))
    t.equal(answer.status, 207)
    t.ok(answer.length > 1_000_000)
  })
})

t.test('a PROPPATCH of 19 KB, and one PROPFIND of all properties over 1,000 children that have many', async (t) => {
  await measured(t, server, async () => {
    for (let i = 0; i < 50; i++) {
      const answer = await server.ask('PROPPATCH', `d/child-${i}`, {}, proppatch(names(19_000)))
      t.equal(answer.status, 207)
    }
    t.equal((await server.ask('PROPFIND', 'd', { depth: '1' })).status, 207)
  })
})

t.test('XML bodies of 8 MB are refused', async (t) => {
  const body = Buffer.alloc(8 * 1024 * 1024, '<a/>')
  await measured(t, server, async () => {
    for (const method of ['PROPFIND', 'PROPPATCH', 'LOCK']) {
      const answer = await server.ask(method, 'd', { depth: '0' }, body).catch((error: Error) => error)
      // The server may close the connection before it has taken all.
      if (!(answer instanceof Error)) t.equal(answer.status, 413, method)
    }
  })
})

t.test('200,000 nested elements, and as many side by side, are refused', async (t) => {
  await measured(t, server, async () => {
    for (const body of [
      '<a>'.repeat(200_000),
      `<a>${'<b/>'.repeat(200_000)}`,
      `<a ${'b=" '.repeat(150_000)}`,
      `<a b="${'x'.repeat(900_000)}`,
    ]) {
      t.equal((await server.ask('PROPPATCH', 'd', {}, body)).status, 400, body.slice(0, 12))
    }
    t.equal((await server.ask('PROPPATCH', 'd', {}, proppatch(`<x:p>${'y&amp;'.repeat(170_000)}</x:p>`))).status, 207)
  })
})

t.test('40 overlapping ranges of a large file, and headers full of conditions', async (t) => {
  await measured(t, server, async () => {
    const ranges = Array.from({ length: 40 }, (_, i) => `${i}-${i + 1_000_000}`).join(',')
    const answer = await server.ask('GET', 'big', { range: `bytes=${ranges}` })
    t.equal(answer.status, 200, 'the whole file, once')
    t.equal(answer.length, 64 * 1024 * 1024)
    const tags = Array.from({ length: 3000 }, (_, i) => `"${i}"`).join(',')
    t.equal((await server.ask('GET', 'd/child-1', { 'if-match': tags })).status, 412)
    t.equal((await server.ask('PUT', 'd/child-1', { if: `(${'Not <a:b> '.repeat(255)})` }, 'x')).status, 204)
    t.equal((await server.ask('PUT', 'd/child-1', { if: '('.repeat(60_000) }, 'x')).status, 400)
  })
})

t.test('10,000 locks: taken, shown, in the way, and over all at once', async (t) => {
  const inBatches = async (count: number, work: (i: number) => Promise<unknown>) => {
    for (let at = 0; at < count; at += 500) await Promise.all(Array.from({ length: 500 }, (_, i) => work(at + i)))
  }
  await server.ask('MKCOL', 'locks/many')
  const take = (i: number) => server.ask('LOCK', `locks/many/${i}`, { depth: '0' }, lockInfo())
  await inBatches(500, take)
  await measured(
    t,
    server,
    async () => {
      await inBatches(10_000, take)
      t.equal((await server.ask('LOCK', 'locks/one-more', {}, lockInfo())).status, 503)
      t.equal((await server.ask('PROPFIND', 'locks/many', { depth: '1' })).status, 207)
      t.equal((await server.ask('LOCK', 'locks', {}, lockInfo())).status, 207, 'they are in the way of one above')
      t.equal((await server.ask('DELETE', 'locks')).status, 207)
      t.equal((await server.ask('MOVE', 'locks', { destination: '/overlay/moved' })).status, 207)
      await server.tell({ kind: 'skew', ms: 3_700_000 })
      t.equal((await server.ask('LOCK', 'locks', {}, lockInfo())).status, 200, 'they have all ended')
    },
    { warmUp: () => Promise.resolve(), before: () => server.tell({ kind: 'skew', ms: 3_700_000 }) },
  )
})

t.test('GETs and PUTs that are broken off by the hundred leave nothing open and nothing behind', async (t) => {
  const descriptors = () => readdirSync(`/proc/${server.child.pid}/fd`).length
  const breakOff = (head: string, after: number) =>
    new Promise<void>((resolve) => {
      const socket = connect(server.port, '127.0.0.1', () => socket.write(head))
      let seen = 0
      socket.on('data', (piece) => {
        seen += piece.length
        if (seen >= after) socket.destroy()
      })
      socket.on('error', () => undefined)
      socket.on('close', () => resolve())
      if (after === 0) socket.on('connect', () => setTimeout(() => socket.destroy(), 5))
    })
  const get = () => breakOff('GET /overlay/big HTTP/1.1\r\nHost: x\r\n\r\n', 100_000)
  const put = () =>
    breakOff(`PUT /overlay/new HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(100_000)}`, 0)
  await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? get() : put())))
  await server.agent.close()
  const before = descriptors()
  await measured(t, server, async () => {
    for (let round = 0; round < 40; round++) {
      await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? get() : put())))
    }
    await until(() => readdirSync(join(dir, 'work/work')).length === 0)
  })
  await until(() => descriptors() <= before + 2)
  t.same(readdirSync(join(dir, 'work/work')), [], 'no half upload is left')
  t.notOk(readdirSync(join(dir, 'upper')).includes('new'))
})
