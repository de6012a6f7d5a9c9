/**
 * `npm run bench:walks`: how far a request walks through this program, from socket to system call and back. Counts, for one request of each
 * kind, the files that are entered, the functions that are called at least once, and all calls; by the precise counters of V8. Library code is not
 * counted. The server is in use before, so that it has its threads. The first run of each kind is thrown away, and the shortest of the others counts, because on a busy machine
 * more calls wait for a thread.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastify from 'fastify'
import { request } from 'undici'
import { mount, parseOptions } from '../../../overlay-core/index.ts'
import { parseExport, startNfs } from '../../../protocols/nfs/index.ts'
import { HTTP_MESSAGES, registerWebDav } from '../../../protocols/webdav/index.ts'
import { allPassFastify } from '../../helpers/all-pass-fastify.ts'
import { type Handle, NfsClient } from '../../helpers/nfs-client.ts'

const TOP = fileURLToPath(new URL('../../../', import.meta.url))
const PARTS = ['overlay-core/', 'protocols/', 'server/', 'config/']
const MEMBERS = 61
const RUNS = 7
/** System calls after which a server that is in use has its own threads, without which no call is made on the event loop. */
const CALLS_IN_USE = 600

interface Walk {
  readonly files: number
  readonly functions: number
  readonly calls: number
  /** Each function with its calls, for `--functions`. */
  readonly called: readonly string[]
}

const ignore = () => undefined
const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore }
/** `--functions` names every function that is called. */
const detail = process.argv.includes('--functions')
const session = new Session()

/** Counts what `work` walks through. */
async function walk(work: () => Promise<unknown>): Promise<Walk> {
  await session.post('Profiler.takePreciseCoverage')
  await work()
  const { result } = await session.post('Profiler.takePreciseCoverage')
  let files = 0
  let functions = 0
  let calls = 0
  const names: string[] = []
  for (const script of result) {
    const path = script.url.startsWith('file://') ? fileURLToPath(script.url).slice(TOP.length) : ''
    if (!PARTS.some((part) => path.startsWith(part))) continue
    const called = script.functions.filter(({ ranges }) => (ranges[0]?.count ?? 0) > 0)
    if (called.length > 0) files++
    functions += called.length
    for (const { ranges } of called) calls += ranges[0]?.count ?? 0
    for (const { functionName, ranges } of called) names.push(`  ${path} ${functionName} ${ranges[0]?.count}`)
  }
  return { files, functions, calls, called: names }
}

const folder = await mkdtemp(join(tmpdir(), 'overlayd-walks-'))
const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(folder, name)) as [string, string, string]
for (const path of [lower, upper, work, join(lower, 'dir'), join(lower, 'cold'), join(upper, 'made')]) await mkdir(path)
for (let i = 0; i < MEMBERS; i++) await writeFile(join(lower, 'dir', `file${i}`), 'content\n')
for (let i = 0; i < 4 * RUNS; i++) await writeFile(join(lower, 'cold', `file${i}`), 'content\n')

const overlay = await mount(parseOptions(`lowerdir=${lower},upperdir=${upper},workdir=${work}`))
const nfs = await startNfs({
  host: '127.0.0.1',
  port: 0,
  exports: [{ name: 'overlay', overlay, rules: parseExport('127.0.0.1(rw,async,no_root_squash,insecure)') }],
  handleKey: Buffer.alloc(32, 7),
  writeVerifier: Buffer.alloc(8, 1),
  log: silent,
})
const app = fastify({ logger: false, forceCloseConnections: true, http: HTTP_MESSAGES })
const direct = allPassFastify(app.server)
const webdav = registerWebDav(app, {
  views: [{ name: 'overlay', overlay, as: { uid: 0, gid: 0, groups: [] } }],
  log: silent,
})
direct.goTo(webdav)
const url = await app.listen({ host: '127.0.0.1', port: 0 })
const client = await NfsClient.connect(nfs.port)

const root = await client.mount('/overlay')
const find = async (dir: Handle, name: string) => await client.walk(dir, name)
const [dir, cold] = [await find(root, 'dir'), await find(root, 'cold')]
const propfind = () =>
  request(`${url}/overlay/dir/`, { method: 'PROPFIND', headers: { depth: '1' } }).then(({ body }) => body.text())
let count = 0
/** Another name each time. */
const fresh = (prefix: string) => `${prefix}${count++}`
const put = () =>
  request(`${url}/overlay/${fresh('new')}`, { method: 'PUT', body: 'content\n' }).then(({ body }) => body.text())
const written = await find(dir, 'file0')
const made = await find(root, 'made')
let [created, removed] = [0, 0]
/** Each kind of request. */
const rows: [string, () => Promise<unknown>][] = [
  ['GETATTR', () => client.getattr(dir)],
  ['LOOKUP, cached', () => client.lookup(dir, 'file1')],
  ['LOOKUP, cold', () => client.lookup(cold, fresh('file'))],
  ['LOOKUP of an absent name, cold', () => client.lookup(cold, fresh('none')).catch(String)],
  ['WRITE', () => client.write(written, 0, Buffer.from('x'))],
  ['CREATE', () => client.create(made, `made${created++}`)],
  ['REMOVE', () => client.remove(made, `made${removed++}`)],
  ['LOOKUP + WRITE with copy-up', async () => client.write(await find(cold, fresh('file')), 0, Buffer.from('x'))],
  [`PROPFIND depth 1 of ${MEMBERS} members`, propfind],
  ['PUT of a new file', put],
]

/** The shortest of several walks. */
async function shortest(work: () => Promise<unknown>): Promise<Walk> {
  await work()
  let least: Walk | undefined
  for (let run = 1; run < RUNS; run++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    const one = await walk(work)
    if (least === undefined || one.calls < least.calls) least = one
  }
  return least as Walk
}

for (let call = 0; call < CALLS_IN_USE; call++) await client.write(written, 0, Buffer.from('x'))

session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
try {
  console.log('| request | files | functions | calls |\n|---|---|---|---|')
  for (const [name, work] of rows) {
    const { files, functions, calls, called } = await shortest(work)
    if (detail) for (const line of called) console.log(line)
    console.log(`| ${name} | ${files} | ${functions} | ${calls} |`)
  }
} finally {
  session.disconnect()
  await client.close()
  await app.close()
  await nfs.close()
  await overlay.unmount()
  await rm(folder, { recursive: true })
}
