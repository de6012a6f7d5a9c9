/** The server under test, in a process of its own: started by fuzzer.ts with an IPC channel, through which it answers `report` and `finish`. */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DirEntryPlus, FileType, type Inode, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { type NfsServer, parseExport, REPLY_MEMORY_BYTES, startNfs } from '../../protocols/nfs/index.ts'
import { build, ROOT, snapshot } from '../helpers/overlay.ts'

/** What the process holds at a moment. */
export interface Report {
  /** Bytes, after a full collection. */
  readonly heap: number
  readonly buffers: number
  readonly resident: number
  readonly sockets: number
  /** Descriptors of layers and workdir. */
  readonly files: number
}

/** What the target says. */
export type Said =
  | { readonly kind: 'ready'; readonly port: number; readonly portmapPort: number }
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'fault'; readonly text: string }
  | { readonly kind: 'finished'; readonly problems: string[] }

const LOWER = {
  file: 'content of the file',
  big: 'x'.repeat(100_000),
  'dir/x': 'x',
  'dir/y': 'y',
  'dir/sub/z': 'z',
  link: '-> file',
  'a-hard-link': '= file',
}

const folder = mkdtempSync(join(tmpdir(), 'overlayd-fuzz-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const lower = build(join(folder, 'lower'), LOWER)
for (const name of ['upper', 'work']) mkdirSync(join(folder, name))
const options = () => parseOptions(`lowerdir=${lower},upperdir=${folder}/upper,workdir=${folder}/work`)

const say = (said: Said) => process.send?.(said)
const fault = (fields: object, message = '') =>
  void say({
    kind: 'fault',
    text: `${message} ${JSON.stringify(fields, (_, v) => (v instanceof Error ? v.stack : v))}`,
  })
const quiet = () => undefined

const before = snapshot(lower)
let overlay: Overlay = await mount(options())
const server: NfsServer = await startNfs({
  host: '127.0.0.1',
  port: 0,
  exports: [{ name: 'overlay', overlay, rules: parseExport('127.0.0.1(rw,no_root_squash,insecure)') }],
  handleKey: Buffer.alloc(32, 7),
  writeVerifier: Buffer.alloc(8, 1),
  log: { debug: quiet, info: quiet, warn: quiet, error: fault },
  portmap: { port: 0 },
  replyMemory: { bytes: new Uint8Array(REPLY_MEMORY_BYTES), changed: quiet },
})
process.on('uncaughtException', (error) => {
  fault({ error }, 'uncaught')
  process.exit(70)
})
process.on('message', (wish) => {
  if (wish === 'report') say({ kind: 'report', report: report() })
  else
    void finish().then((problems) =>
      process.send?.({ kind: 'finished', problems } satisfies Said, () => process.exit(0)),
    )
})
process.on('disconnect', () => process.exit(1))
say({ kind: 'ready', port: server.port, portmapPort: server.portmap?.tcpPort ?? 0 })

function report(): Report {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage()
  let sockets = 0
  let files = 0
  for (const fd of readdirSync('/proc/self/fd')) {
    const leadsTo = linkOf(fd)
    if (leadsTo.startsWith('socket:')) sockets++
    else if (leadsTo.startsWith(folder)) files++
  }
  return { heap: heapUsed, buffers: arrayBuffers, resident: rss, sockets, files }
}

/** What a descriptor is open on; nothing for that of the listing itself. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

/** Ends the server; what is wrong with what it leaves behind. */
async function finish(): Promise<string[]> {
  const problems: string[] = []
  await server.close()
  await overlay.unmount()
  // Descriptors are closed without waiting for it.
  for (let round = 0; round < 100 && report().files > 0; round++) await new Promise((go) => setTimeout(go, 10))
  const files = report().files
  if (files > 0) problems.push(`${files} descriptors are left open`)
  if (JSON.stringify(snapshot(lower)) !== JSON.stringify(before)) problems.push('the lower has changed')
  const left = readdirSync(join(folder, 'work', 'work'))
  if (left.length > 0) problems.push(`left in the work directory: ${left.join(' ')}`)
  overlay = await mount(options())
  await walk(overlay, overlay.root, '', problems)
  await overlay.unmount()
  return problems
}

/** Everything below `dir` can be listed, and read. */
async function walk(tree: Overlay, dir: Inode, path: string, problems: string[]): Promise<void> {
  const entries: DirEntryPlus[] = []
  await tree.readdirPlus(ROOT, dir, 0, (entry) => entries.push(entry) > 0)
  for (const { name, inode } of entries) {
    const at = `${path}/${name}`
    try {
      if (inode === undefined) throw new Error('no object')
      await tree.getattr(inode)
      if (inode.type === FileType.regular) await tree.read(ROOT, inode, Buffer.alloc(4096), 0, 4096, 0)
      if (inode.type === FileType.directory) await walk(tree, inode, at, problems)
    } catch (error) {
      problems.push(`${at}: ${error}`)
    }
  }
}
