import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type Inode, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { allowCallsOnLoop, forbidCallsOnLoop } from '../../../overlay-core/sys/call.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
const DIRECTORIES = 200
const FILES = 20
const PAUSE_MS = 1

/** What one measurement showed. */
export interface Figures {
  /** How much later than was due each answer came, in ms. */
  readonly waits: readonly number[]
  readonly operations: number
  readonly seconds: number
}

/** Makes the lower below `path`. */
export function fill(path: string): void {
  for (let d = 0; d < DIRECTORIES; d++) {
    const directory = join(path, 'lower', `d${d}`)
    mkdirSync(directory, { recursive: true })
    for (let f = 0; f < FILES; f++) writeFileSync(join(directory, `f${f}`), Buffer.alloc(4096, f))
  }
}

/** One client works on the disk at `path`, another asks for what is in memory. */
export async function measure(path: string, onLoop: boolean, ms: number): Promise<Figures> {
  const [upper, work] = [join(path, 'upper'), join(path, 'work')]
  for (const directory of [upper, work]) {
    rmSync(directory, { recursive: true, force: true })
    mkdirSync(directory)
  }
  if (!onLoop) forbidCallsOnLoop()
  const overlay = await mount(parseOptions(`lowerdir=${join(path, 'lower')},upperdir=${upper},workdir=${work}`))
  try {
    const until = performance.now() + ms
    const [operations, waits] = await Promise.all([workUntil(overlay, until), askUntil(overlay, until)])
    return { waits, operations, seconds: ms / 1000 }
  } finally {
    await overlay.unmount()
    if (!onLoop) allowCallsOnLoop()
  }
}

async function askUntil(overlay: Overlay, until: number): Promise<number[]> {
  const waits: number[] = []
  for (let now = performance.now(); now < until; ) {
    const due = now + PAUSE_MS
    await setTimeout(PAUSE_MS)
    await overlay.getattr(overlay.root)
    now = performance.now()
    waits.push(now - due)
  }
  return waits
}

/** Walks through the files, each of which it looks up and reads, and makes, writes and removes one of its own beside. Returns how many operations. */
async function workUntil(overlay: Overlay, until: number): Promise<number> {
  const block = Buffer.alloc(4096)
  let operations = 0
  for (let i = 0; performance.now() < until; i++) {
    const [d, f] = [i % DIRECTORIES, Math.floor(i / DIRECTORIES) % FILES]
    const directory = (await overlay.lookup(ROOT, overlay.root, `d${d}`)) as Inode
    const file = (await overlay.lookup(ROOT, directory, `f${f}`)) as Inode
    await overlay.read(ROOT, file, block, 0, block.length, 0)
    const own = await overlay.create(ROOT, directory, `own-${i}`, { mode: 0o644 })
    await overlay.write(ROOT, own, block, 0, 'unstable')
    if (i % 8 === 0) await overlay.commit(ROOT, own)
    await overlay.unlink(ROOT, directory, `own-${i}`)
    operations += 6
  }
  return operations
}
