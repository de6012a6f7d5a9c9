import { closeSync, fsyncSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type Inode, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { Random } from '../../differential/random.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
const FILES = 200
const BLOCK_BYTES = 4096
const PIECE_BYTES = 8 * 1024 * 1024
/** Between two operations of one client, so that the figures are those of operations and not of a queue for the processor. */
const PAUSE_MS = 1

/** Latencies of one kind of operation, in ms. */
export type Latencies = Map<string, number[]>

/** Operations that wait for the disk by their nature: they answer when their data is on it. */
export const DURABLE: readonly string[] = ['chmod of a lower file', 'commit']

/** How much there is in a world. */
export interface Sizes {
  readonly largeBytes: number
  readonly clients: number
  /** Files that each client can copy up, one at a time. */
  readonly copies: number
}

/** An overlay with one large file in its lower, and small ones. */
export interface World {
  readonly overlay: Overlay
  readonly upper: string
  readonly sizes: Sizes
}

/** Makes the layers below `dir`; the large file is of data that is not the same twice, and on the disk. */
export async function makeWorld(dir: string, sizes: Sizes): Promise<World> {
  const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(dir, name)) as [string, string, string]
  for (const path of [lower, upper, work, join(lower, 'small'), join(lower, 'to-copy')]) mkdirSync(path)
  const { clients, copies } = sizes
  for (let i = 0; i < copies * clients; i++) {
    writeFileSync(
      join(lower, 'to-copy', `file-${i % clients}-${Math.floor(i / clients)}`),
      Buffer.alloc(BLOCK_BYTES, i),
    )
  }
  for (let i = 0; i < FILES; i++) writeFileSync(join(lower, 'small', `file-${i}`), Buffer.alloc(BLOCK_BYTES, i))
  writeLarge(join(lower, 'large'), sizes.largeBytes)
  const overlay = await mount(parseOptions(`lowerdir=${lower},upperdir=${upper},workdir=${work}`))
  return { overlay, upper, sizes }
}

function writeLarge(path: string, bytes: number): void {
  const piece = Buffer.allocUnsafe(PIECE_BYTES)
  const random = new Random(1)
  for (let at = 0; at < piece.length; at += 4) piece.writeUInt32LE(random.below(2 ** 32), at)
  const fd = openSync(path, 'w')
  for (let at = 0; at < bytes; at += piece.length) {
    piece.writeDoubleLE(at, 0)
    writeSync(fd, piece, 0, Math.min(piece.length, bytes - at))
  }
  fsyncSync(fd)
  closeSync(fd)
}

/** The copy-up: the first write to the large file. */
export async function copyUpLarge({ overlay }: World): Promise<void> {
  await overlay.write(ROOT, await find(overlay, 'large'), Buffer.from('!'), 0, 'unstable')
}

async function find(overlay: Overlay, ...names: string[]): Promise<Inode> {
  let inode = overlay.root
  for (const name of names) inode = (await overlay.lookup(ROOT, inode, name)) as Inode
  return inode
}

/** Clients that work on other files until `over` is settled; returns how long each operation took. */
export async function work({ overlay, sizes }: World, over: Promise<unknown>): Promise<Latencies> {
  const latencies: Latencies = new Map()
  let ended = false
  const end = () => {
    ended = true
  }
  over.then(end, end)
  const client = async (index: number) => {
    const operations = operationsOf(overlay, sizes, index)
    for (let i = 0; !ended; i++) {
      const [kind, operate] = operations[i % operations.length] as Operation
      const start = performance.now()
      await operate()
      const took = performance.now() - start
      const list = latencies.get(kind)
      if (list) list.push(took)
      else latencies.set(kind, [took])
      await setTimeout(PAUSE_MS)
    }
  }
  await Promise.all(Array.from({ length: sizes.clients }, (_, i) => client(i)))
  await over
  return latencies
}

/** Names that were made so far. */
let names = 0

type Operation = readonly [kind: string, operate: () => Promise<unknown>]

/** What a client does in turn; each has names of its own. */
function operationsOf(overlay: Overlay, { copies }: Sizes, index: number): readonly Operation[] {
  const random = new Random(index + 1)
  const block = Buffer.alloc(BLOCK_BYTES, index)
  const buffer = Buffer.alloc(BLOCK_BYTES)
  const own = `own-${index}`
  const small = () => find(overlay, 'small', `file-${random.below(FILES)}`)
  const lowerFile = (i: number) => find(overlay, 'to-copy', `file-${index}-${i % copies}`)
  const ownFile = async () =>
    (await overlay.lookup(ROOT, overlay.root, own)) ?? (await overlay.create(ROOT, overlay.root, own, { mode: 0o644 }))
  let last = ''
  const fresh = () => {
    last = `new-${names++}`
    return last
  }
  let copied = 0
  return [
    ['lookup', small],
    ['getattr', async () => await overlay.getattr(overlay.root)],
    ['read 4 KiB', async () => await overlay.read(ROOT, await small(), buffer, 0, BLOCK_BYTES, 0)],
    ['readdir', async () => await overlay.readdir(ROOT, await find(overlay, 'small'), 0, () => true)],
    ['write 4 KiB', async () => await overlay.write(ROOT, await ownFile(), block, 0, 'unstable')],
    ['create', async () => await overlay.create(ROOT, overlay.root, fresh(), { mode: 0o644 })],
    ['rename', async () => await overlay.rename(ROOT, overlay.root, last, overlay.root, `b-${index}`)],
    ['chmod', async () => await overlay.setattr(ROOT, await ownFile(), { mode: 0o600 + random.below(64) })],
    ['unlink', async () => await overlay.unlink(ROOT, overlay.root, `b-${index}`)],
    ['chmod of a lower file', async () => await overlay.setattr(ROOT, await lowerFile(copied++), { mode: 0o640 })],
    ['commit', async () => await overlay.commit(ROOT, await ownFile())],
    ['getattr of the large file', async () => await overlay.getattr(await find(overlay, 'large'))],
    [
      'read of the large file',
      async () => await overlay.read(ROOT, await find(overlay, 'large'), buffer, 0, BLOCK_BYTES, 0),
    ],
  ]
}
