import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Random } from '../differential/random.ts'
import { NFS, NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { authSys, callMessage, parseReply, RpcClient, RpcRefusal } from '../helpers/rpc-client.ts'
import { type CorpusEntry, readCorpus } from './corpus.ts'
import { fragment, mutate } from './mutate.ts'
import type { Report, Said } from './target.ts'

export interface FuzzSettings {
  readonly seed: number
  readonly seconds: number
  /** How long a well-formed call may take. */
  readonly boundMs: number
  readonly print: (line: string) => void
}

/** What a run has found, and how much it has tried. */
export interface FuzzResult {
  readonly problems: readonly string[]
  readonly calls: number
  readonly streams: number
  readonly answered: Readonly<Record<string, number>>
  /** How many calls the procedures of each program have answered, also with GARBAGE_ARGS. */
  readonly reached: Readonly<Record<number, number>>
  readonly first: Report
  readonly last: Report
}

/** At the end: the listeners on TCP and UDP, of the portmapper too, the connection of the client that behaves, and the channel to us. */
const SOCKETS = 7
const MAX_GROWTH_BYTES = 32 * 1024 * 1024
const ROOT = authSys(0, 0)
const PORTMAP = 100_000
/** The portmapper closes connections that send more than 8 KiB at a time. */
const MAX_PORTMAP_BYTES = 4096
/** Calls of closed connections may still be under way while the tree is tidied: what they take away is looked for again. */
const TIDY_ATTEMPTS = 20
/** Calls after which what the fuzzer has made is removed and what it removed is made again. */
const TIDY_CALLS = 2000
/** Kept of what was sent last, to be printed with a problem. */
const HISTORY = 40

/** Sends mutated calls and streams to a server of its own for some time. */
export class Fuzzer {
  readonly #settings: FuzzSettings
  readonly #random: Random
  readonly #corpus = readCorpus()
  readonly #handles = new Map<string, Buffer>()
  readonly #problems: string[] = []
  readonly #history: string[] = []
  readonly #answered: Record<string, number> = {}
  readonly #reached: Record<number, number> = {}
  #child!: ChildProcess
  #port = 0
  #portmapPort = 0
  #healthy!: NfsClient
  #connections: RpcClient[] = []
  #xid = 0x1000_0000
  #calls = 0
  #streams = 0
  #gone = false
  #finished = false

  constructor(settings: FuzzSettings) {
    this.#settings = settings
    this.#random = new Random(settings.seed)
  }

  async run(): Promise<FuzzResult> {
    await this.#start()
    try {
      const from = performance.now()
      const until = from + this.#settings.seconds * 1000
      await this.#tidy()
      for (const entry of this.#corpus) await this.#asItIs(entry)
      let first = await this.#report()
      let warm = false
      for (let tidied = 0; performance.now() < until && this.#problems.length === 0 && !this.#gone; ) {
        await this.#round()
        if (this.#calls + this.#streams - tidied > TIDY_CALLS) {
          tidied = this.#calls + this.#streams
          await this.#tidy()
          if (!warm && performance.now() > from + this.#settings.seconds * 333) {
            warm = true
            first = await this.#report()
          }
        }
      }
      return await this.#end(first)
    } finally {
      this.#finished = true
      this.#child.kill('SIGKILL')
    }
  }

  async #start(): Promise<void> {
    const path = fileURLToPath(new URL('./target.ts', import.meta.url))
    const { NODE_OPTIONS: _, ...env } = process.env
    this.#child = fork(path, [], { env: { ...env, UV_THREADPOOL_SIZE: '8' }, execArgv: ['--expose-gc'] })
    this.#child.on('message', (said: Said) => {
      if (said.kind === 'fault') this.#problem(`the server logs an error: ${said.text}`)
    })
    this.#child.on('exit', (code, signal) => {
      if (!this.#finished) this.#problem(`the server ended with ${code ?? signal}`)
      this.#gone = true
    })
    const { port, portmapPort } = await this.#hear('ready')
    this.#port = port
    this.#portmapPort = portmapPort
    this.#healthy = await NfsClient.connect(port, ROOT)
  }

  /** The next message of a kind. */
  async #hear<K extends Said['kind']>(kind: K): Promise<Extract<Said, { kind: K }>> {
    for (;;) {
      const [said] = (await Promise.race([once(this.#child, 'message'), once(this.#child, 'exit')])) as [Said | number]
      if (typeof said !== 'object' || said === null) throw new Error(`the server ended while ${kind} was awaited`)
      if (said.kind === kind) return said as Extract<Said, { kind: K }>
    }
  }

  async #report(): Promise<Report> {
    const heard = this.#hear('report')
    this.#child.send('report')
    return (await heard).report
  }

  /** Removes all but what the corpus names, makes what is missing of that, and learns the handles. */
  async #tidy(): Promise<void> {
    const client = this.#healthy
    const root = (await client.mnt('/overlay')).handle as Buffer
    await this.#clearAll(root, new Set(['file', 'big', 'dir', 'link', 'a-hard-link']))
    const names = ['file', 'big', 'a-hard-link']
    for (const name of names) await client.create(root, name, { mode: 'unchecked', attr: { mode: 0o644 } })
    await client.mkdir(root, 'dir')
    await client.symlink(root, 'link', 'file')
    this.#handles.set('root', root)
    for (const name of [...names, 'dir', 'link']) {
      const { handle, attr } = await client.lookup(root, name)
      const right =
        handle && (name === 'dir' ? attr?.type === 2 : name === 'link' ? attr?.type === 5 : attr?.type === 1)
      if (!right) await this.#clearAll(root, new Set([...names, 'dir', 'link'].filter((other) => other !== name)))
      if (handle) this.#handles.set(name.replaceAll('-', '_'), handle)
    }
  }

  async #clearAll(root: Buffer, keep: ReadonlySet<string>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#clear(root, keep)
      } catch (error) {
        if (attempt === TIDY_ATTEMPTS || !String(error).endsWith(`: ${STATUS.STALE}`)) throw error
      }
    }
  }

  async #clear(dir: Buffer, keep: ReadonlySet<string>): Promise<void> {
    for (const entry of await this.#healthy.list(dir)) {
      if (entry.name === '.' || entry.name === '..' || keep.has(entry.name)) continue
      if (entry.attr?.type === 2 && entry.handle) {
        await this.#clear(entry.handle, new Set())
        await this.#healthy.rmdir(dir, entry.name)
      } else {
        await this.#healthy.remove(dir, entry.name)
      }
    }
  }

  /** The corpus itself: every call is answered, every stream leaves the server alive. */
  async #asItIs(entry: CorpusEntry): Promise<void> {
    const bytes = entry.bytes(this.#handles)
    if (entry.call !== undefined) await this.#call(await this.#connection(entry.call[0]), entry.call, bytes)
    else await this.#stream(bytes)
    await this.#alive()
  }

  async #round(): Promise<void> {
    const random = this.#random
    const kind = random.weighted({ args: 60, header: 15, stream: 15, good: 10 })
    if (kind === 'args' || kind === 'good') {
      const connections = [await this.#connection(NFS), await this.#connection(PORTMAP)] as const
      const count = 1 + random.below(12)
      await Promise.all(Array.from({ length: count }, () => this.#someCall(connections, kind === 'args')))
    } else if (kind === 'header') {
      await this.#stream(
        fragment(
          random,
          mutate(random, this.#message(this.#xid++).message, () => this.#donor()),
        ),
      )
    } else {
      const records = Array.from({ length: 1 + random.below(5) }, () =>
        fragment(random, this.#message(this.#xid++).message),
      )
      await this.#stream(mutate(random, Buffer.concat(records), () => this.#donor()))
    }
    if (kind !== 'args' && random.chance(20)) await this.#alive()
  }

  async #someCall([connection, portmap]: readonly [RpcClient, RpcClient], mutated: boolean): Promise<void> {
    const entry = this.#random.pick(this.#corpus.filter(({ call }) => call !== undefined))
    const args = entry.bytes(this.#handles)
    const sent = mutated ? mutate(this.#random, args, () => this.#donor()) : args
    const call = entry.call as [number, number, number]
    if (call[0] === PORTMAP) await this.#call(portmap, call, sent.subarray(0, MAX_PORTMAP_BYTES))
    else await this.#call(connection, call, sent)
  }

  #donor(): Buffer {
    return this.#random.pick(this.#corpus).bytes(this.#handles)
  }

  #message(xid: number): { message: Buffer } {
    const { call, bytes } = this.#random.pick(this.#corpus.filter((entry) => entry.call !== undefined))
    return { message: callMessage(xid, call as [number, number, number], ROOT, bytes(this.#handles)) }
  }

  /** A call with a good header: whatever its arguments, it has to be answered. */
  async #call(connection: RpcClient, call: readonly [number, number, number], args: Buffer): Promise<void> {
    this.#calls++
    const xid = this.#xid++
    const message = callMessage(xid, call, ROOT, args)
    const what = `call ${call.join(' ')} ${args.toString('hex')}`
    this.#note(what)
    try {
      const reply = await this.#inTime(connection.exchange(xid, fragment(this.#random, message)), what)
      const answer = this.#answerOf(call, reply)
      this.#count(answer)
      // What a program has refused to be is not counted for it.
      if (!/UNAVAIL|MISMATCH/.test(answer)) this.#reached[call[0]] = (this.#reached[call[0]] ?? 0) + 1
    } catch (error) {
      this.#problem(`${error instanceof Error ? error.message : error} after ${what.slice(0, 2000)}`)
    }
  }

  #answerOf(call: readonly [number, number, number], reply: Buffer): string {
    try {
      const { results } = parseReply(reply)
      return call[0] === NFS && call[2] !== 0 ? `status ${results.u32()}` : 'SUCCESS'
    } catch (error) {
      if (!(error instanceof RpcRefusal)) throw error
      if (error.kind === 'SYSTEM_ERR') throw new Error('SYSTEM_ERR')
      return error.kind
    }
  }

  /** Bytes that may be anything: the server may answer or close the connection. */
  async #stream(bytes: Buffer): Promise<void> {
    this.#streams++
    this.#note(`stream ${bytes.toString('hex')}`)
    const connection = await RpcClient.connect(this.#port)
    for (let at = 0; at < bytes.length && !connection.socket.destroyed; ) {
      const length = this.#random.chance(50) ? bytes.length - at : 1 + this.#random.below(100)
      connection.socket.write(bytes.subarray(at, at + length))
      at += length
      if (this.#random.chance(10)) await new Promise((resolve) => setImmediate(resolve))
    }
    // Some hang up at once, some wait for the other side to take what was sent.
    if (this.#random.chance(50)) await new Promise<void>((resolve) => connection.socket.end(resolve))
    await connection.close()
  }

  /** A client that behaves is served all the while. */
  async #alive(): Promise<void> {
    try {
      await this.#inTime(this.#healthy.getattr(this.#handles.get('root') as Buffer), 'GETATTR of the root')
    } catch (error) {
      this.#problem(String(error))
    }
  }

  /** One of the connections to where the program is served. */
  async #connection(program: number): Promise<RpcClient> {
    const slot = program === PORTMAP ? 4 : this.#random.below(4)
    const known = this.#connections[slot]
    if (known !== undefined && !known.socket.destroyed && !this.#random.chance(2)) return known
    await known?.close()
    const fresh = await RpcClient.connect(slot === 4 ? this.#portmapPort : this.#port)
    this.#connections[slot] = fresh
    return fresh
  }

  async #inTime<T>(promise: Promise<T>, what: string): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => reject(new Error(`no answer in ${this.#settings.boundMs} ms: ${what.slice(0, 200)}`)),
      this.#settings.boundMs,
    )
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  async #end(first: Report): Promise<FuzzResult> {
    let last = first
    if (!this.#gone) {
      await this.#tidy().catch((error) => this.#problem(`the tree cannot be tidied: ${error}`))
      for (const connection of this.#connections) await connection?.close()
      last = await this.#settled()
      const growth = last.heap + last.buffers - first.heap - first.buffers
      if (growth > MAX_GROWTH_BYTES) this.#problem(`memory has grown by ${(growth / 1e6).toFixed(0)} MB`)
      await this.#healthy.close()
      const finished = this.#hear('finished')
      this.#child.send('finish')
      const { problems } = await finished
      this.#finished = true
      for (const problem of problems) this.#problem(problem)
    }
    const { calls, streams, answered } = { calls: this.#calls, streams: this.#streams, answered: this.#answered }
    return { problems: this.#problems, calls, streams, answered, reached: this.#reached, first, last }
  }

  /** What the server holds once it has noticed that the connections are closed. */
  async #settled(): Promise<Report> {
    for (let attempt = 0; ; attempt++) {
      const report = await this.#report()
      if (report.sockets <= SOCKETS || attempt === 50) {
        if (report.sockets > SOCKETS) this.#problem(`${report.sockets} sockets are left open`)
        return report
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  #count(answer: string): void {
    this.#answered[answer] = (this.#answered[answer] ?? 0) + 1
  }

  #note(what: string): void {
    this.#history.push(what)
    if (this.#history.length > HISTORY) this.#history.shift()
  }

  #problem(text: string): void {
    if (this.#problems.length === 0) {
      this.#settings.print(`what was sent last, for a file in test/fuzz/corpus:\n${this.#history.join('\n')}`)
    }
    this.#problems.push(text)
    this.#settings.print(`PROBLEM (seed ${this.#settings.seed}): ${text}`)
  }
}
