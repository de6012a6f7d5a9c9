import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode, Overlay } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { at, errnoOf, put, ROOT, withOverlay } from '../../helpers/overlay.ts'

const EIO = 5
const O_PATH = 0o10000000

t.afterEach(() => setFaultPoints(undefined))

/** What descriptors of this process are open for more than a place in the tree. */
function openPaths(): Set<string> {
  const paths = new Set<string>()
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '0'
      if ((Number.parseInt(flags, 8) & O_PATH) === 0) paths.add(readlinkSync(`/proc/self/fd/${fd}`))
    } catch (error) {
      // The one that the list itself was read through.
      if ((error as { code?: string }).code !== 'ENOENT') throw error
    }
  }
  return paths
}

/** Commits `inode`; which of `paths` could be synced at each fsync. With `errno` every fsync fails. */
async function synced(overlay: Overlay, inode: Inode, paths: readonly string[], errno = 0): Promise<string[]> {
  const found = new Set<string>()
  setFaultPoints({
    before: (op) => {
      if (op !== 'fsync') return 0
      const open = openPaths()
      for (const path of paths) if (open.has(path)) found.add(path)
      return errno
    },
    after: () => undefined,
  })
  try {
    await overlay.commit(ROOT, inode)
  } finally {
    setFaultPoints(undefined)
  }
  return [...found].sort()
}

t.test('fsync of a file or directory reaches the upper file system, and the caller gets its error', async (t) => {
  await withOverlay(t, [{ 'd/f': 'x', 'd/g': 'y', 'e/h': 'z' }], async ({ overlay, upper }) => {
    const [d, f] = [await at(overlay, 'd'), await at(overlay, 'd/f')]
    await overlay.create(ROOT, d, 'new', { mode: 0o644 })
    const paths = ['d', 'd/f', 'd/new', 'd/g'].map((path) => join(upper, path))
    t.same(await synced(overlay, d, paths), [join(upper, 'd')], 'the directory')
    await put(overlay, 'd/f', 'X')
    t.ok((await synced(overlay, f, paths)).includes(join(upper, 'd/f')), 'the file')
    await overlay.unlink(ROOT, d, 'g')
    t.equal(await errnoOf(() => synced(overlay, d, paths, EIO)), 'EIO')
    await put(overlay, 'd/f', 'Y')
    t.equal(await errnoOf(() => synced(overlay, f, paths, EIO)), 'EIO')
    t.ok((await synced(overlay, d, paths)).includes(join(upper, 'd')), 'and is tried again')
  })
})

t.test('fsync of an object in a lower does nothing, and a volatile overlay syncs nothing', async (t) => {
  for (const options of ['', ',volatile']) {
    await withOverlay(
      t,
      [{ 'd/f': 'x', 'e/g': 'y' }],
      async ({ overlay, upper, lowers }) => {
        const top = lowers[0] as string
        const all = ['d', 'd/f', 'e', 'e/g'].flatMap((path) => [join(upper, path), join(top, path)])
        t.same(await synced(overlay, await at(overlay, 'e'), all, EIO), [])
        t.same(await synced(overlay, await at(overlay, 'e/g'), all, EIO), [])
        await put(overlay, 'd/f', 'X')
        if (options === ',volatile') t.same(await synced(overlay, await at(overlay, 'd/f'), all, EIO), [])
      },
      { options },
    )
  }
})
