import { linkSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Overlay } from '../../../overlay-core/index.ts'
import { at, errnoOf, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

/** Creates or replaces a file, as an upload does. */
async function put(overlay: Overlay, name: string, content: string): Promise<void> {
  const staged = await overlay.stage(ROOT)
  await staged.append([Buffer.from(content)])
  await staged.publish({ dir: overlay.root, name, mode: 0o644 })
}

/** How many descriptors of this process are open on files below `dir` that have no name any more. */
function held(dir: string): number {
  const targets = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      // The descriptor of the listing itself.
      return []
    }
  })
  return targets.filter((target) => target.startsWith(`${dir}/`) && target.endsWith(' (deleted)')).length
}

/** Waits for closes that began when the call was answered. */
async function closed(dir: string): Promise<void> {
  while (held(dir) > 0) await new Promise(setImmediate)
}

t.test('a file that was read is closed when its last name is gone, whatever takes the name', async (t) => {
  await withOverlay(t, [{ kept: 'lower' }], async ({ overlay, dir }) => {
    const { root } = overlay
    const ways: Record<string, (name: string) => Promise<unknown>> = {
      'a removal': async (name) => overlay.unlink(ROOT, root, name),
      'a rename': async (name) => {
        await put(overlay, 'other', 'other')
        await overlay.rename(ROOT, root, 'other', root, name)
      },
      'an upload': (name) => put(overlay, name, 'new content'),
    }
    for (const [way, replace] of Object.entries(ways)) {
      const name = way.replace(' ', '-')
      await put(overlay, name, 'content')
      t.equal(await text(overlay, name), 'content')
      await replace(name)
      t.equal(held(dir), 0, way)
    }
    await put(overlay, 'kept', 'changed')
    t.equal(await text(overlay, 'kept'), 'changed')
    await overlay.restore(ROOT, root, 'kept')
    t.equal(held(dir), 0, 'a restore')
    t.equal(await text(overlay, 'kept'), 'lower')
  })
})

t.test('a file that was written by handle is closed, too, and is stale then', async (t) => {
  await withOverlay(t, [{ low: 'lower' }], async ({ overlay, dir }) => {
    const { root } = overlay
    const made = await overlay.create(ROOT, root, 'made', { mode: 0o644 })
    const copied = await at(overlay, 'low')
    for (const [name, inode] of [
      ['made', made],
      ['low', copied],
    ] as const) {
      await overlay.write(ROOT, inode, Buffer.from('unstable'), 0, 'unstable')
      await overlay.unlink(ROOT, root, name)
      t.equal(held(dir), 0, name)
      t.equal(await errnoOf(() => overlay.read(ROOT, inode, Buffer.alloc(8), 0, 8, 0)), 'ESTALE')
      t.equal(await errnoOf(() => overlay.write(ROOT, inode, Buffer.alloc(1), 0, 'unstable')), 'ESTALE')
      t.equal(await errnoOf(() => overlay.commit(ROOT, inode)), 'ESTALE')
    }
  })
})

t.test('while a removed file is in use it stays open, and the last user closes it', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, dir }) => {
    await put(overlay, 'f', 'content')
    const inode = await at(overlay, 'f')
    const first = await overlay.open(ROOT, inode, { read: true, write: true })
    const second = await overlay.open(ROOT, inode, { read: true })
    await overlay.unlink(ROOT, overlay.root, 'f')
    t.equal(held(dir), 1)
    await first.write(Buffer.from('C'), 0)
    first.close()
    const buffer = Buffer.alloc(7)
    t.equal(await second.read(buffer, 0, 7, 0), 7)
    t.equal(buffer.toString(), 'Content')
    t.equal((await second.getattr()).nlink, 0)
    second.close()
    await closed(dir)
    t.equal(held(dir), 0)
  })
})

t.test('a file with another name stays open, also if nobody has looked that up', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, dir, upper }) => {
    const { root } = overlay
    await put(overlay, 'f', 'content')
    const inode = await at(overlay, 'f')
    await overlay.link(ROOT, inode, root, 'known')
    linkSync(join(upper, 'f'), join(upper, 'unknown'))
    await overlay.unlink(ROOT, root, 'f')
    t.equal(await text(overlay, 'known'), 'content')
    await overlay.unlink(ROOT, root, 'known')
    await overlay.write(ROOT, inode, Buffer.from('C'), 0, 'unstable')
    t.equal(await text(overlay, 'unknown'), 'Content')
    await overlay.unlink(ROOT, root, 'unknown')
    await closed(dir)
    t.equal(held(dir), 0)
  })
})

t.test('all names of a hard link of a lower are removed', async (t) => {
  await withOverlay(
    t,
    [{ f: 'content', again: '= f' }],
    async ({ overlay, dir }) => {
      const inode = await at(overlay, 'f')
      await overlay.write(ROOT, inode, Buffer.from('C'), 0, 'unstable')
      await overlay.unlink(ROOT, overlay.root, 'f')
      t.equal(await text(overlay, 'again'), 'Content')
      await overlay.unlink(ROOT, overlay.root, 'again')
      await closed(dir)
      t.equal(held(dir), 0)
    },
    { options: ',index=on' },
  )
})

t.test(
  'a large file that was replaced and removed at once is closed, although it waits to be written out',
  async (t) => {
    await withOverlay(t, [{}], async ({ overlay, dir }) => {
      const large = 'x'.repeat(2 * 1024 * 1024)
      await put(overlay, 'f', 'old')
      await put(overlay, 'f', large)
      await overlay.unlink(ROOT, overlay.root, 'f')
      t.equal(held(dir), 0)
    })
  },
)

t.test('removals while copy-ups and writes run leave nothing open', async (t) => {
  const names = Array.from({ length: 40 }, (_, i) => `f${i}`)
  const tree = Object.fromEntries(names.map((name) => [name, name.repeat(1000)]))
  await withOverlay(t, [tree], async ({ overlay, dir }) => {
    const work = names.flatMap((name) => {
      const write = async () => overlay.write(ROOT, await at(overlay, name), Buffer.from('x'), 0, 'unstable')
      return [write(), overlay.unlink(ROOT, overlay.root, name), write()]
    })
    const failed = (await Promise.allSettled(work)).filter(({ status }) => status === 'rejected')
    for (const { reason } of failed as PromiseRejectedResult[]) t.match(reason.code, /^(ESTALE|ENOENT)$/)
    await closed(dir)
    t.equal(held(dir), 0)
  })
})
