/**
 * `npm run bench:handles [-- --names N]`: what it costs to find objects again by their handles, in the designs that docs/adr/0016 compares, and what a
 * directory of 100,000 names costs over NFS, first and again, with the longest stall of the event loop.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { HandleRecord } from '../../../overlay-core/objects/handle-log.ts'
import { NfsClient } from '../../helpers/nfs-client.ts'
import { authSys } from '../../helpers/rpc-client.ts'
import { kernelStore, lmdbStore, logStore, type Store, sqliteStore } from './stores.ts'

const { values } = parseArgs({ options: { names: { type: 'string' }, only: { type: 'string' } } })
const names = Number(values.names ?? 100_000)
/** One answer of READDIRPLUS. */
const PAGE = 300

const folder = mkdtempSync(join(tmpdir(), 'overlayd-bench-handles-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

function records(): HandleRecord[] {
  return Array.from({ length: names }, (_, i) => ({
    key: 2 ** 48 + i * 17,
    generation: Math.imul(i, 0x9e3779b1) >>> 0,
    dirKey: 2 ** 48 + 5,
    name: `name-of-entry-${String(i).padStart(8, '0')}`,
  }))
}

function memory(): number {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

async function timed(work: () => Promise<unknown> | unknown): Promise<number> {
  const from = performance.now()
  await work()
  return performance.now() - from
}

async function measure(store: Store, all: readonly HandleRecord[], before: number): Promise<void> {
  const first = await timed(async () => {
    for (let at = 0; at < all.length; at += PAGE) await store.remember(all.slice(at, at + PAGE))
  })
  const perMillion = 1e6 / all.length
  const bytes = memory() - before
  const disk = store.diskBytes()
  let known = 0
  const again = await timed(() => {
    for (const record of all) if (store.knows(record)) known++
  })
  const some = all.filter((_, i) => i % 10 === 0)
  const find = await timed(async () => {
    for (const record of some) if (!(await store.find(record))) throw new Error(`${store.name} has lost an object`)
  })
  await store.forget(all.filter((_, i) => i % 10 !== 0))
  const shrinking = await timed(() => store.shrink())
  const cells = [
    store.name.padEnd(16),
    `first listing ${first.toFixed(0)} ms`,
    `again ${again.toFixed(1)} ms (${known} known)`,
    `find ${((find / some.length) * 1000).toFixed(1)} µs`,
    `memory ${((bytes * perMillion) / 1e6).toFixed(0)} MB per million`,
    `disk ${((disk * perMillion) / 1e6).toFixed(0)} MB per million`,
    `after removing nine of ten: ${((store.diskBytes() / Math.max(1, disk)) * 100).toFixed(0)} % in ${shrinking.toFixed(0)} ms`,
  ]
  console.log(cells.join(' · '))
}

/** A directory over NFS, from cold caches and again; the server is a process of its own. */
async function overNfs(): Promise<void> {
  const server = fork(fileURLToPath(new URL('./served.ts', import.meta.url)), [folder])
  const hear = async () => ((await once(server, 'message')) as [{ port: number; stallMs: number; burstMs: number }])[0]
  mkdirSync(join(folder, 'lower', 'many'), { recursive: true })
  for (const { name } of records()) writeFileSync(join(folder, 'lower', 'many', name), '')
  server.send('start')
  const client = await NfsClient.connect((await hear()).port, authSys(0, 0))
  const root = (await client.mnt('/overlay')).handle as Buffer
  const many = (await client.lookup(root, 'many')).handle as Buffer
  for (const turn of ['first', 'again']) {
    server.send('watch')
    await hear()
    let entries = 0
    let longest = 0
    const time = await timed(async () => {
      for (let cookie: bigint | number = 0, eof = false; !eof; ) {
        longest = Math.max(
          longest,
          await timed(async () => {
            const page = await client.readdirplus(many, cookie, 65_536)
            if (page.status !== 0) throw new Error(`READDIRPLUS: ${page.status}`)
            entries += page.entries.length
            cookie = page.entries.at(-1)?.cookie ?? 0
            eof = page.eof
          }),
        )
      }
    })
    server.send('report')
    const { stallMs, burstMs } = await hear()
    const cells = [
      `READDIRPLUS ${turn}: ${entries} entries in ${time.toFixed(0)} ms`,
      `longest page ${longest.toFixed(0)} ms`,
    ]
    console.log(
      [
        ...cells,
        `longest stall of the server's loop ${stallMs.toFixed(1)} ms, longest turn ${burstMs.toFixed(1)} ms of processor time`,
      ].join(' · '),
    )
  }
  await client.close()
  server.send('stop')
  await once(server, 'exit')
}

if (values.only !== 'nfs') {
  const all = records()
  const makers = { log: logStore, sqlite: sqliteStore, lmdb: lmdbStore, kernel: kernelStore }
  for (const name of ['log', 'sqlite', 'lmdb', 'kernel'] as const) {
    const own = join(folder, name)
    mkdirSync(own)
    if (name === 'kernel') for (const record of all) writeFileSync(join(own, record.name), '')
    const before = memory()
    const store = await makers[name](own)
    if (store === undefined) console.log(`${name}: the package is not there (npm install --no-save lmdb)`)
    else await measure(store, all, before)
  }
}
if (values.only !== 'stores') await overNfs()
