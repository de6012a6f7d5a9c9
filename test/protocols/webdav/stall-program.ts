/**
 * A WebDAV server in a process of its own that measures itself: how much CPU time its event loop spent in one turn at most, which no other
 * process on the machine can make longer, and how much memory it took at most. Driven by messages of its parent.
 */
import fastify from 'fastify'
import { mount, parseOptions } from '../../../overlay-core/index.ts'
import { registerWebDav } from '../../../protocols/webdav/index.ts'

const [options = ''] = process.argv.slice(2)
const uid = process.geteuid?.() ?? 0
const cred = { uid, gid: process.getegid?.() ?? 0, groups: [] }
const overlay = await mount(parseOptions(options))
const app = fastify({ logger: false, forceCloseConnections: true, http: { maxHeaderSize: 65_536 } })
const faults: string[] = []
const note = (details: object, message: string) => void faults.push(`${message}: ${JSON.stringify(details)}`)
const ignore = () => undefined
let skewMs = 0
const handle = registerWebDav(app, {
  views: [{ name: 'overlay', overlay, as: cred }],
  log: { debug: ignore, info: ignore, warn: ignore, error: note },
  now: () => Date.now() + skewMs,
})
await app.listen({ port: 0, host: '127.0.0.1' })

let longestMicros = 0
let largestBytes = 0
let turns = 0
let keptBefore = 0
let lastMicros = threadMicros()

function threadMicros(): number {
  const { user, system } = process.threadCpuUsage()
  return user + system
}

/** What is in use once the garbage has been collected. */
function keptBytes(): number {
  // The second one waits until memory outside the heap that the first one found unused is freed.
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function turn(): void {
  const now = threadMicros()
  if (now - lastMicros > longestMicros) longestMicros = now - lastMicros
  if (turns++ % 64 === 0) largestBytes = Math.max(largestBytes, process.memoryUsage.rss())
  lastMicros = threadMicros()
  setImmediate(turn)
}
turn()

process.on('message', (message: { kind: 'reset' | 'report' | 'skew' | 'end'; ms?: number }) => {
  switch (message.kind) {
    case 'reset':
      keptBefore = keptBytes()
      longestMicros = 0
      largestBytes = process.memoryUsage.rss()
      lastMicros = threadMicros()
      process.send?.({ bytes: largestBytes })
      return
    case 'report':
      process.send?.({
        longestMs: longestMicros / 1000,
        bytes: largestBytes,
        kept: keptBytes() - keptBefore,
        faults,
        counters: { ...handle.counters },
      })
      return
    case 'skew':
      skewMs += message.ms ?? 0
      process.send?.({})
      return
    default:
      void end()
  }
})

async function end(): Promise<void> {
  await app.close()
  await handle.close()
  await overlay.unmount()
  process.disconnect()
  process.exit(0)
}

process.send?.({ port: (app.server.address() as { port: number }).port })
