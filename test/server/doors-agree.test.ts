import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Client } from 'undici'
import { Random } from '../differential/random.ts'
import { type Handle, NfsClient } from '../helpers/nfs-client.ts'
import { AS_SERVER, type Running, start } from './launch.ts'

/**
 * Each file is a register: it holds a version, in its first 12 bytes, and its length belongs to the version. One writer changes a file, through
 * one door or the other in turn, while readers look at it through both. A read must give a version that was the last acknowledged one at some
 * moment between its start and its end.
 */
interface Register {
  readonly name: string
  /** What each version is: the length, or undefined for "not there". */
  readonly lengths: (number | undefined)[]
  /** The last version whose change was acknowledged, and the last that was begun. */
  acked: number
  begun: number
}

const FILES = 12
const WRITES = 60
const READERS = 4
const HEADER = 12
const SEED = 20_260_101

const content = (version: number, length: number) => String(version).padStart(HEADER, '0').padEnd(length, '.')

/** Both doors for one worker: a connection of its own to each. */
class Doors {
  readonly dav: Client
  readonly nfs: NfsClient
  readonly dir: Handle

  private constructor(dav: Client, nfs: NfsClient, dir: Handle) {
    this.dav = dav
    this.nfs = nfs
    this.dir = dir
  }

  static async open(server: Running): Promise<Doors> {
    const nfs = await NfsClient.connect(server.nfsPort as number)
    const dir = await nfs.walk(await nfs.mount(), 'd')
    return new Doors(new Client(new URL(server.webdavUrl as string).origin), nfs, dir)
  }

  async ask(method: string, name: string, headers: Record<string, string> = {}, body?: string) {
    const answer = await this.dav.request({
      method: method as 'GET',
      path: `/overlay/d/${name}`,
      headers,
      body: body ?? null,
    })
    return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() }
  }

  async close(): Promise<void> {
    await this.dav.close()
    await this.nfs.close()
  }
}

function ok(what: string, given: number, ...wanted: number[]): void {
  if (!wanted.includes(given)) throw new Error(`${what}: ${given}`)
}

/** The ways to make the next version: each is one step for who looks. */
const CHANGES: Record<string, (doors: Doors, name: string, version: number, length: number) => Promise<void>> = {
  async put({ ask }: Doors, name, version, length) {
    ok('PUT', (await ask('PUT', name, {}, content(version, length))).status, 201, 204)
  },
  async moveOver({ ask }: Doors, name, version, length) {
    ok('PUT', (await ask('PUT', `${name}.dav`, {}, content(version, length))).status, 201)
    ok('MOVE', (await ask('MOVE', `${name}.dav`, { destination: `/overlay/d/${name}` })).status, 201, 204)
  },
  async renameOver({ nfs, dir }: Doors, name, version, length) {
    const made = await nfs.create(dir, `${name}.nfs`)
    ok('CREATE', made.status, 0)
    ok('WRITE', (await nfs.write(made.handle as Handle, 0, Buffer.from(content(version, length)))).status, 0)
    ok('RENAME', (await nfs.rename(dir, `${name}.nfs`, dir, name)).status, 0)
  },
  /** In place, with the length that is there. */
  async write({ nfs, dir }: Doors, name, version) {
    const { handle } = await nfs.lookup(dir, name)
    ok('WRITE', (await nfs.write(handle as Handle, 0, Buffer.from(content(version, HEADER)))).status, 0)
  },
  async remove({ nfs, dir }: Doors, name) {
    ok('REMOVE', (await nfs.remove(dir, name)).status, 0)
  },
  async delete({ ask }: Doors, name) {
    ok('DELETE', (await ask('DELETE', name)).status, 204)
  },
}

/** Changes a file again and again, and after each change looks at it: by then it must be exactly that. Returns what was not. */
async function changeFile(doors: Doors, register: Register, random: Random): Promise<string[]> {
  const wrong: string[] = []
  const bound = { ...doors, ask: doors.ask.bind(doors) } as Doors
  for (let i = 0; i < WRITES; i++) {
    const length = register.lengths[register.acked]
    const ways = length === undefined ? ['put', 'moveOver', 'renameOver'] : Object.keys(CHANGES)
    const way = random.pick(ways)
    const version = register.acked + 1
    const next = /remove|delete/.test(way) ? undefined : way === 'write' ? length : HEADER + random.below(5000)
    register.lengths[version] = next
    register.begun = version
    await CHANGES[way]!(bound, register.name, version, next ?? 0)
    register.acked = version
    const look = random.pick(Object.keys(LOOKS))
    const seen = await LOOKS[look]!(bound, register)
    if (!fits(seen, register, version, version)) {
      wrong.push(`${look} of ${register.name} after ${way}: ${JSON.stringify(seen)}, not version ${version} of ${next}`)
    }
  }
  return wrong
}

/** What a look gave: parts of the state that it shows. Undefined: that the file is not there. */
type Seen = { readonly version?: number; readonly length?: number } | undefined

/** The ways to look at one file. */
const LOOKS: Record<string, (doors: Doors, register: Register) => Promise<Seen>> = {
  async get(doors, { name }) {
    const { status, text } = await doors.ask('GET', name)
    return status === 404 ? undefined : { version: Number(text.slice(0, HEADER)), length: text.length }
  },
  async head(doors, { name }) {
    const { status, headers } = await doors.ask('HEAD', name)
    return status === 404 ? undefined : { length: Number(headers['content-length']) }
  },
  async range(doors, { name }) {
    const { status, text, headers } = await doors.ask('GET', name, { range: `bytes=0-${HEADER - 1}` })
    if (status === 404) return undefined
    return { version: Number(text), length: Number(/\/(\d+)$/.exec(String(headers['content-range']))?.[1]) }
  },
  async propfind(doors, { name }) {
    const { status, text } = await doors.ask('PROPFIND', name, { depth: '0' })
    return status === 404 ? undefined : { length: Number(/getcontentlength>(\d+)</.exec(text)?.[1]) }
  },
  async listing(doors, { name }) {
    const { text } = await doors.ask('PROPFIND', '', { depth: '1' })
    const entry = text.split('<D:response>').find((part) => part.includes(`/d/${name}</D:href>`))
    return entry === undefined ? undefined : { length: Number(/getcontentlength>(\d+)</.exec(entry)?.[1]) }
  },
  async nfsRead({ nfs, dir }, { name }) {
    const { status, handle } = await nfs.lookup(dir, name)
    if (status === 2) return undefined
    const read = await nfs.read(handle as Handle, 0, HEADER)
    // It was removed or replaced in between: a client would look it up again.
    return read.status === 70 ? undefined : { version: Number(read.data.toString()) }
  },
  async nfsAttributes({ nfs, dir }, { name }) {
    const { status, attr } = await nfs.lookup(dir, name)
    return status === 2 ? undefined : { length: attr!.size }
  },
  async nfsListing({ nfs, dir }, { name }) {
    const entry = (await nfs.list(dir)).find((candidate) => candidate.name === name)
    return entry === undefined ? undefined : { length: entry.attr!.size }
  },
}

/** Whether `seen` is what the file was in one of the versions from `first` to `last`. */
function fits(seen: Seen, { lengths }: Register, first: number, last: number): boolean {
  for (let version = first; version <= last; version++) {
    const length = lengths[version]
    if (seen === undefined || length === undefined) {
      if (seen === undefined && length === undefined) return true
    } else if ((seen.version ?? version) === version && (seen.length ?? length) === length) return true
  }
  return false
}

async function look(doors: Doors, registers: readonly Register[], random: Random, until: () => boolean) {
  const wrong: string[] = []
  let looks = 0
  while (!until()) {
    const register = random.pick(registers)
    const way = random.pick(Object.keys(LOOKS))
    const first = register.acked
    const seen = await LOOKS[way]!(doors, register)
    const last = register.begun
    looks++
    if (fits(seen, register, first, last)) continue
    // A READ after its LOOKUP can meet a file that was replaced; then it is the second look that counts.
    if (way === 'nfsRead' && seen === undefined && last > first) continue
    wrong.push(
      `${way} of ${register.name}: ${JSON.stringify(seen)}, not one of versions ${first} to ${last}: ${register.lengths.slice(first, last + 1)}`,
    )
  }
  return { wrong, looks }
}

t.setTimeout(120_000)

t.test('what one door has acknowledged is what the other one shows, however often the same names change', async (t) => {
  const dir = t.testdir({ lower: { d: {} }, upper: {}, work: {} })
  const registers: Register[] = []
  for (let i = 0; i < FILES; i++) {
    registers.push({ name: `f${i}`, lengths: [100 + i], acked: 0, begun: 0 })
    writeFileSync(join(dir, 'lower/d', `f${i}`), content(0, 100 + i))
  }
  mkdirSync(join(dir, 'state'), { mode: 0o700 })
  const server = await start(t, [
    ...['-o', `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`],
    ...['--webdav', '127.0.0.1:0', '--nfs', '127.0.0.1:0', ...AS_SERVER, '--state-dir', join(dir, 'state')],
    ...['--export', '127.0.0.1(rw,no_root_squash,insecure,async)'],
  ])
  const random = new Random(SEED)
  const doors = await Promise.all(Array.from({ length: FILES + READERS }, () => Doors.open(server)))
  let done = false
  const writing = Promise.all(registers.map((register, i) => changeFile(doors[i]!, register, random.fork()))).finally(
    () => {
      done = true
    },
  )
  const reading = doors.slice(FILES).map((worker) => look(worker, registers, random.fork(), () => done))
  t.same((await writing).flat(), [], 'no look behind a change of its own')
  const results = await Promise.all(reading)
  t.same(
    results.flatMap(({ wrong }) => wrong),
    [],
    'no read was behind or ahead',
  )
  const looks = results.reduce((sum, result) => sum + result.looks, 0)
  t.ok(looks > 200, `${looks} reads beside writes`)
  const last = doors[0]!
  for (const register of registers) {
    for (const [way, lookAt] of Object.entries(LOOKS)) {
      t.ok(
        fits(await lookAt(last, register), register, register.acked, register.acked),
        `${way} of ${register.name} at the end`,
      )
    }
  }
  for (const worker of doors) await worker.close()
  t.equal(await server.stop(), 0)
})
