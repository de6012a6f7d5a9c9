import { Client } from 'undici'
import { type Handle, NfsClient } from '../../helpers/nfs-client.ts'
import { authSys, RpcClient } from '../../helpers/rpc-client.ts'
import { type DoorServer, OWNER, startDoorServer } from './door-server.ts'
import { descriptorsAllowed } from './measure.ts'
import type { Report } from './report.ts'

/** New views that each door makes. */
const NEW_VIEWS = 400
/** New views that each door makes before it is measured. */
const WARM_UP_VIEWS = 200
/** Views that one address makes: the server allows 100 at once. */
const PER_ADDRESS = 80
/** Views over which requests are spread. */
const SPREAD = 1000
/** Requests in flight, and how many there are in a turn. */
const [IN_FLIGHT, REQUESTS] = [32, 4000]
/** Turns of each kind, one kind after the other. */
const TURNS = 5
const CREATED_AT_ONCE = 8
const AUTH = authSys(OWNER, OWNER)
const OK = 0

export interface DoorMeasurement {
  readonly lower: string
  /** The number of views that exist before. */
  readonly count: number
  /** Files of the lower. */
  readonly paths: readonly string[]
}

/** Measures a server with a template, in the new directory `dir`. */
export async function measureDoors(report: Report, dir: string, measured: DoorMeasurement): Promise<void> {
  const { lower, count, paths } = measured
  report.heading(`a server with ${count} views over ${paths.length} files`)
  const server = await startDoorServer(dir, lower, count)
  try {
    const path = paths[0] as string
    await createViews(server, count)
    // Node compiles the code of making views during the first hundreds of them.
    for (const [at, door] of [byNfs, byWebdav].entries())
      await firstBytes(server, door, { path, views: WARM_UP_VIEWS, group: at })
    await server.longestStalls()
    reportTimes(report, 'NFS', await firstBytes(server, byNfs, { path, views: NEW_VIEWS, group: 2 }))
    reportTimes(report, 'WebDAV', await firstBytes(server, byWebdav, { path, views: NEW_VIEWS, group: 3 }))
    report.stalls('server, new views', await server.longestStalls())
    await compare(report, server, 'GETATTR', await getattrs(server, Math.min(count, SPREAD), path))
    await compare(report, server, 'GET', gets(server, Math.min(count, SPREAD), path))
    report.stalls('server, requests over many views', await server.longestStalls())
    report.figure('descriptors of the server', server.descriptors(), '', descriptorsAllowed())
    report.figure('resident memory of the server', server.residentKiB() / 1024, 'MiB')
  } finally {
    await server.stop()
  }
}

async function createViews({ ask }: DoorServer, count: number): Promise<void> {
  await together(CREATED_AT_ONCE, count, (i) => ask({ verb: 'create', view: `course/${nameOf(i)}` }))
}

function nameOf(i: number): string {
  return `user${i}`
}

/** Reads a file of a view that does not exist yet; resolves when the first byte is there. */
interface Door {
  read(view: string, path: string): Promise<void>
  close(): Promise<void>
}
type OpenDoor = (server: DoorServer, address: string) => Promise<Door>

const byNfs: OpenDoor = async ({ nfsPort }, address) => {
  const nfs = new NfsClient(await RpcClient.connect(nfsPort, undefined, address), AUTH)
  return {
    read: async (view, path) => {
      const file = await nfs.walk(await nfs.mount(`/course/${view}`), path)
      const { status, data } = await nfs.read(file, 0, 100)
      if (status !== OK || data.length === 0) throw new Error(`READ answers ${status}`)
    },
    close: () => nfs.close(),
  }
}

const byWebdav: OpenDoor = async ({ webdav }, address) => {
  const client = new Client(webdav.origin, { localAddress: address })
  return { read: (view, path) => get(client, view, path), close: () => client.close() }
}

async function get(client: Client, view: string, path: string): Promise<void> {
  const { statusCode, body } = await client.request({ method: 'GET', path: `/course/~${view}/${path}` })
  const text = await body.text()
  if (statusCode !== 200 || text === '') throw new Error(`GET answers ${statusCode}`)
}

/** What making and using new views takes. */
interface FirstBytes {
  /** In ms, one for each view. */
  readonly times: readonly number[]
  /** Processor time of the server for each view, in ms. */
  readonly cpuMs: number
}

async function firstBytes(
  server: DoorServer,
  open: OpenDoor,
  { path, views, group }: { readonly path: string; readonly views: number; readonly group: number },
): Promise<FirstBytes> {
  const times: number[] = []
  const before = server.cpuMs()
  for (let first = 0; first < views; first += PER_ADDRESS) {
    const door = await open(server, `127.1.${group}.${1 + first / PER_ADDRESS}`)
    try {
      for (let i = first; i < Math.min(views, first + PER_ADDRESS); i++) {
        const start = performance.now()
        await door.read(`new${group}-${i}`, path)
        times.push(performance.now() - start)
      }
    } finally {
      await door.close()
    }
  }
  return { times, cpuMs: (server.cpuMs() - before) / views }
}

function reportTimes(report: Report, door: string, { times, cpuMs }: FirstBytes): void {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] as number
  report.figure(`first byte of a new view over ${door}: median`, at(0.5), 'ms', 20)
  report.figure(`first byte of a new view over ${door}: p99`, at(0.99), 'ms', 20)
  report.figure(`first byte of a new view over ${door}: processor time of the server`, cpuMs, 'ms')
}

/** Requests that go to one view of many. */
interface Requests {
  readonly views: number
  /** Sends one to view `i`. */
  send(i: number): Promise<void>
  close(): Promise<void>
}

async function getattrs({ nfsPort }: DoorServer, views: number, path: string): Promise<Requests> {
  const nfs = new NfsClient(await RpcClient.connect(nfsPort), AUTH)
  const files: Handle[] = []
  for (let i = 0; i < views; i++) files.push(await nfs.walk(await nfs.mount(`/course/${nameOf(i)}`), path))
  return {
    views,
    send: async (i) => {
      const { status } = await nfs.getattr(files[i] as Handle)
      if (status !== OK) throw new Error(`GETATTR answers ${status}`)
    },
    close: () => nfs.close(),
  }
}

function gets({ webdav }: DoorServer, views: number, path: string): Requests {
  const clients = Array.from({ length: IN_FLIGHT }, () => new Client(webdav.origin))
  let next = 0
  return {
    views,
    send: (i) => get(clients[next++ % IN_FLIGHT] as Client, nameOf(i), path),
    close: async () => void (await Promise.all(clients.map((client) => client.close()))),
  }
}

/** Compares requests to one view with requests spread over all, by the clock and by the processor time of the server. */
async function compare(report: Report, server: DoorServer, what: string, requests: Requests): Promise<void> {
  try {
    const [one, spread] = [new Turns(server), new Turns(server)]
    await together(IN_FLIGHT, REQUESTS, (i) => requests.send(i % requests.views))
    for (let turn = 0; turn < TURNS; turn++) {
      await one.time(() => together(IN_FLIGHT, REQUESTS, () => requests.send(0)))
      await spread.time(() => together(IN_FLIGHT, REQUESTS, (i) => requests.send(i % requests.views)))
    }
    report.figure(`${what} in one view`, one.perSecond, '/s')
    report.figure(`${what} in one view: processor time`, one.cpuMicroseconds, 'µs')
    report.figure(`${what} over ${requests.views} views`, spread.perSecond, '/s')
    report.figure(`${what} over ${requests.views} views: processor time`, spread.cpuMicroseconds, 'µs')
    report.ratio(
      `${what} over ${requests.views} views: throughput against one view`,
      spread.perSecond / one.perSecond,
      0.7,
    )
    report.ratio(`${what}: the same by processor time`, one.cpuMicroseconds / spread.cpuMicroseconds, 0.7)
  } finally {
    await requests.close()
  }
}

/** Some turns of `REQUESTS` requests. */
class Turns {
  readonly #server: DoorServer
  readonly #seconds: number[] = []
  #cpuMs = 0

  constructor(server: DoorServer) {
    this.#server = server
  }

  async time(work: () => Promise<void>): Promise<void> {
    const [start, cpu] = [performance.now(), this.#server.cpuMs()]
    await work()
    this.#seconds.push((performance.now() - start) / 1000)
    this.#cpuMs += this.#server.cpuMs() - cpu
  }

  /** By the median turn. */
  get perSecond(): number {
    const sorted = this.#seconds.toSorted((a, b) => a - b)
    return REQUESTS / (sorted[Math.floor(sorted.length / 2)] as number)
  }

  get cpuMicroseconds(): number {
    return (this.#cpuMs * 1000) / (this.#seconds.length * REQUESTS)
  }
}

/** Runs `work` for 0 … `count` - 1, at most `limit` at a time. */
async function together(limit: number, count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: Math.min(limit, count) }, worker))
}
