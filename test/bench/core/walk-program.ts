/** Walks an overlay whole and prints what that took of the heap: `walk-program.ts MOUNT-OPTIONS WALK-OPTIONS`, with --expose-gc. */
import { FileType, type Inode, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { PER_DIRECTORY, type Walked, type WalkOptions } from './memory.ts'
import { nameOf, ROOT } from './world.ts'

const DEFAULT_LIMIT = 200_000
/** How many directories are walked between two looks at the heap. */
const LOOK_EVERY = 25

const options = JSON.parse(process.argv[3] as string) as WalkOptions
const limit = options.limit ?? DEFAULT_LIMIT
const gc = globalThis.gc as () => void

const overlay = await mount(parseOptions(process.argv[2] as string), {
  dentryLimit: limit,
  ...(options.withoutListings ? { listingLimit: 0 } : {}),
})
const before = heapUsed()
let highest = 0
let names = 0
const directories: string[] = []
const start = performance.now()
await walk(overlay, overlay.root, 0)
const after = heapUsed()
highest = Math.max(highest, after - before)
let cached = 0
// The last ones first: a name that is not cached would take the place of one that is.
for (const dir of directories.reverse()) await countCached(overlay, dir)
const seen: Walked = {
  names,
  cached,
  limit,
  perName: (after - before) / names,
  highestHeap: highest,
  rss: process.memoryUsage.rss(),
  seconds: (performance.now() - start) / 1000,
}
await overlay.unmount()
console.log(JSON.stringify(seen))

/** Looks up every name without listings being kept: those have a limit of their own. */
async function walk(at: Overlay, dir: Inode, depth: number): Promise<void> {
  const found: string[] = []
  await at.readdir(ROOT, dir, 0, ({ name }) => found.push(name) > 0)
  for (const [i, name] of found.entries()) {
    names++
    const inode = (await at.lookup(ROOT, dir, name)) as Inode
    if (!options.withoutAttributes) await at.getattr(inode)
    if (inode.type === FileType.directory) await walk(at, inode, depth + 1)
    if (depth === 0) directories.push(name)
    if (depth === 0 && i % LOOK_EVERY === 0) highest = Math.max(highest, heapUsed() - before)
  }
}

/** Counts the names in the directory `name` of the root that are answered at once. */
async function countCached(at: Overlay, name: string): Promise<void> {
  const dir = at.lookup(ROOT, at.root, name)
  if (dir === undefined || dir instanceof Promise) return
  cached++
  for (let i = 0; i < PER_DIRECTORY; i++) {
    const found = at.lookup(ROOT, dir, nameOf(i))
    if (found instanceof Promise) await found.catch(() => undefined)
    else if (found) cached++
  }
}

function heapUsed(): number {
  gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
