import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Inode, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { syncfs } from '../../overlay-core/sys/data.ts'

// How to make names durable for many requests at once: shared fsyncs of the directories (what the core does), one syncfs for all that wait, or an
// fsync for each request. Usage: node test/bench/durability.ts [DIRECTORY]. Prints creations per second, medians of rounds in turn.

const ROUNDS = 5
const CREATIONS = 1500
const ROOT = { uid: 0, gid: 0, groups: [] }

type Strategy = (overlay: Overlay, dir: Inode) => Promise<void> | undefined

/** A group commit of syncfs: one runs, all that come meanwhile share the next. */
function groupedSyncfs(fd: number): Strategy {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    next = undefined
    running = syncfs(fd).finally(() => {
      if (next === undefined) running = undefined
    })
    return running
  }
  return () => {
    if (running === undefined) return start()
    next ??= running.then(start, start)
    return next
  }
}

async function round(overlay: Overlay, dirs: readonly Inode[], prefix: string, inFlight: number, durable: Strategy) {
  const started = performance.now()
  let made = 0
  const worker = async () => {
    while (made < CREATIONS) {
      const number = made++
      const dir = dirs[number % dirs.length]!
      await overlay.create(ROOT, dir, `${prefix}${number}`, { mode: 0o644 })
      await durable(overlay, dir)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return CREATIONS / ((performance.now() - started) / 1000)
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Writes 64 MiB over and over, as a client with unstable writes does, while `work` runs. */
async function whileWriting<T>(path: string, work: () => Promise<T>): Promise<T> {
  const fd = openSync(path, 'w')
  const block = Buffer.alloc(1024 * 1024, 7)
  let at = 0
  const timer = setInterval(() => writeSync(fd, block, 0, block.length, (at++ % 64) * block.length), 10)
  try {
    return await work()
  } finally {
    clearInterval(timer)
    fsyncSync(fd)
    closeSync(fd)
  }
}

const top = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'durability-'))
for (const name of ['lower', 'upper', 'work']) mkdirSync(join(top, name))
const overlay = await mount(parseOptions(`lowerdir=${top}/lower,upperdir=${top}/upper,workdir=${top}/work`))
const upperFd = openSync(join(top, 'upper'), 'r')
const strategies: Record<string, Strategy> = {
  'shared fsync': (overlay, dir) => overlay.commitChanges([dir]),
  'grouped syncfs': groupedSyncfs(upperFd),
  'nothing (async)': () => undefined,
}
try {
  let serial = 0
  for (const [what, dirCount, inFlight, busy] of [
    ['1 request, 1 directory', 1, 1, false],
    ['64 requests, 1 directory', 1, 64, false],
    ['64 requests, 16 directories', 16, 64, false],
    ['64 requests, 16 directories, beside unstable writes', 16, 64, true],
  ] as const) {
    const dirs: Inode[] = []
    for (let i = 0; i < dirCount; i++)
      dirs.push(await overlay.mkdir(ROOT, overlay.root, `d${serial++}`, { mode: 0o755 }))
    const rates: Record<string, number[]> = {}
    const rounds = async () => {
      for (let i = 0; i < ROUNDS; i++) {
        for (const [name, strategy] of Object.entries(strategies)) {
          rates[name] ??= []
          rates[name].push(await round(overlay, dirs, `f${serial++}-`, inFlight, strategy))
        }
      }
    }
    if (busy) await whileWriting(join(top, 'stream'), rounds)
    else await rounds()
    const line = Object.entries(rates).map(([name, values]) => `${name} ${Math.round(median(values))}/s`)
    console.log(`${what}: ${line.join(' · ')}`)
  }
} finally {
  await overlay.unmount()
  closeSync(upperFd)
  rmSync(top, { recursive: true })
}
