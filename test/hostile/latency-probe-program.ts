/**
 * Another client of a server under attack, in a process of its own: asks for attributes over NFS and for a small file over WebDAV, on connections of its own, and measures how long the answers
 * take. From time to time it also connects anew. Told what to do by messages of its parent.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { NfsClient } from '../helpers/nfs-client.ts'
import { authSys, RpcClient } from '../helpers/rpc-client.ts'
import type { Latency, ProbeReport, ProbeSettings } from './latency-probe.ts'
import { waitedMs } from './process-meter.ts'

const settings = JSON.parse(process.argv[2] ?? '') as ProbeSettings
const serverWaits = `/proc/${settings.pid}/task/${settings.pid}/schedstat`
const ownWaits = `/proc/${process.pid}/task/${process.pid}/schedstat`
/** A request without an answer for so long has failed; the next one goes on a new connection. */
const GIVE_UP_MS = 30_000
const LOGIN = settings.authorization === undefined ? '' : `Authorization: ${settings.authorization}\r\n`
const PAUSE_MS = 2
const CONNECT_EVERY_MS = 200

class Series {
  #samples: { ms: number; withoutMachineMs: number }[] = []
  #failures: string[] = []
  #startedMs: number | undefined
  #waitedMs = 0

  async measure(work: () => Promise<void>): Promise<boolean> {
    const startedMs = performance.now()
    this.#startedMs = startedMs
    this.#waitedMs = waitedMs(serverWaits) + waitedMs(ownWaits)
    const timeout = AbortSignal.timeout(GIVE_UP_MS)
    const late = new Promise<never>((_, reject) => {
      timeout.addEventListener('abort', () => reject(new Error(`no answer within ${GIVE_UP_MS} ms`)))
    })
    try {
      await Promise.race([work(), late])
      this.#note()
      return true
    } catch (error) {
      this.#note()
      this.#failures.push(String(error))
      return false
    } finally {
      this.#startedMs = undefined
      late.catch(() => undefined)
    }
  }

  #note(): void {
    if (this.#startedMs === undefined) return
    const ms = performance.now() - this.#startedMs
    // What the machine gave to others, while this server or this process could have gone on, is no stall of the server.
    const machineMs = waitedMs(serverWaits) + waitedMs(ownWaits) - this.#waitedMs
    this.#samples.push({ ms, withoutMachineMs: Math.max(0, ms - machineMs) })
  }

  /** What was seen since the last time; a request without an answer so far counts with the time it has taken. */
  take(): Latency {
    const pending = this.#startedMs !== undefined && performance.now() - this.#startedMs > 100
    if (pending) this.#note()
    const sorted = this.#samples.map(({ ms }) => ms).sort((a, b) => a - b)
    const latency = {
      count: sorted.length,
      medianMs: sorted[Math.floor(sorted.length / 2)] ?? 0,
      worstMs: sorted.at(-1) ?? 0,
      worstWithoutMachineMs: Math.max(0, ...this.#samples.map(({ withoutMachineMs }) => withoutMachineMs)),
      failures: this.#failures,
    }
    this.#samples = []
    this.#failures = []
    return latency
  }
}

/** Gets small files over one connection, for as long as the server's replies say that it stays open. */
class Getter {
  readonly #localAddress: string
  #socket: Socket | undefined
  #ready: Promise<unknown> = Promise.resolve()
  #received = ''
  #answered: { resolve: () => void; reject: (error: Error) => void } | undefined

  constructor(localAddress: string) {
    this.#localAddress = localAddress
  }

  async get(): Promise<void> {
    const socket = this.#socket ?? this.#connect()
    await this.#ready
    await new Promise<void>((resolve, reject) => {
      if (socket.destroyed) return reject(new Error('connection closed'))
      this.#answered = { resolve, reject }
      socket.write(`GET ${settings.webdavPath} HTTP/1.1\r\nHost: 127.0.0.1\r\n${LOGIN}\r\n`)
    })
  }

  #connect(): Socket {
    const where = { host: '127.0.0.1', port: settings.webdavPort!, localAddress: this.#localAddress }
    const socket = settings.tls ? connectTls({ ...where, rejectUnauthorized: false }) : connect(where)
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (data: Buffer) => this.#onData(data))
    socket.on('error', (error) => this.#failed(socket, error))
    socket.on('close', () => this.#failed(socket, new Error('connection closed')))
    this.#ready = once(socket, settings.tls ? 'secureConnect' : 'connect')
    this.#ready.catch(() => undefined)
    return socket
  }

  #failed(socket: Socket, error: Error): void {
    if (socket === this.#socket) this.#answered?.reject(error)
  }

  #onData(data: Buffer): void {
    this.#received += data.toString('latin1')
    const head = this.#received.indexOf('\r\n\r\n')
    if (head < 0) return
    const length = Number(/^content-length: (\d+)/im.exec(this.#received)?.[1] ?? 0)
    if (this.#received.length < head + 4 + length) return
    const status = this.#received.slice(9, 12)
    if (/^connection: close/im.test(this.#received)) this.close()
    this.#received = ''
    if (status === '200') this.#answered?.resolve()
    else this.#answered?.reject(new Error(`GET: ${status}`))
    this.#answered = undefined
  }

  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }
}

const series = { getattr: new Series(), get: new Series(), connecting: new Series() }
let root: Buffer | undefined
let running = true

async function connectNfs(localAddress: string): Promise<NfsClient> {
  return new NfsClient(await RpcClient.connect(settings.nfsPort!, undefined, localAddress), authSys(1000, 1000))
}

async function watchNfs(): Promise<void> {
  let client = await connectNfs(settings.address)
  root ??= await client.mount(settings.export)
  while (running) {
    const ok = await series.getattr.measure(async () => {
      const { status } = await client.getattr(root!)
      if (status !== 0) throw new Error(`GETATTR: ${status}`)
    })
    if (!ok) {
      await client.close()
      await sleep(50)
      client = await connectNfs(settings.address).catch(() => client)
    }
    await sleep(PAUSE_MS)
  }
}

async function watchWebdav(): Promise<void> {
  let getter = new Getter(settings.address)
  while (running) {
    const ok = await series.get.measure(() => getter.get())
    if (!ok) {
      getter.close()
      await sleep(50)
      getter = new Getter(settings.address)
    }
    await sleep(PAUSE_MS)
  }
}

/** A client that has just come: can it connect, and is it served? */
async function watchConnecting(): Promise<void> {
  while (running) {
    await series.connecting.measure(async () => {
      if (settings.nfsPort !== undefined) {
        const client = await connectNfs(settings.newcomer)
        try {
          const { status } = await client.getattr(root!)
          if (status !== 0) throw new Error(`GETATTR: ${status}`)
        } finally {
          await client.close()
        }
      }
      if (settings.webdavPort !== undefined) {
        const getter = new Getter(settings.newcomer)
        await getter.get().finally(() => getter.close())
      }
    })
    await sleep(CONNECT_EVERY_MS)
  }
}

process.on('message', (message: 'take' | 'end') => {
  if (message === 'end') {
    running = false
    process.disconnect()
    process.exit(0)
  }
  const report: ProbeReport = {
    getattr: series.getattr.take(),
    get: series.get.take(),
    connecting: series.connecting.take(),
  }
  process.send?.(report)
})

if (settings.nfsPort !== undefined) {
  const client = await connectNfs(settings.address)
  root = await client.mount(settings.export)
  await client.close()
}
const watching = [watchConnecting()]
if (settings.nfsPort !== undefined) watching.push(watchNfs())
if (settings.webdavPort !== undefined) watching.push(watchWebdav())
process.send?.('ready')
await Promise.all(watching)
