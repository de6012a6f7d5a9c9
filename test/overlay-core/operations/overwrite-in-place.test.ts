import { linkSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode, Overlay, PublishOptions } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { ALICE, at, errnoOf, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

async function put(
  overlay: Overlay,
  name: string,
  content: string,
  more: Partial<PublishOptions> = {},
): Promise<Inode> {
  const staged = await overlay.stage(ROOT)
  await staged.append([Buffer.from(content)])
  return await staged.publish({ dir: overlay.root, name, mode: 0o640, keepLinks: true, ...more })
}

const linked = {
  prepare: ([lower]: readonly string[]) => linkSync(join(String(lower), 'one'), join(String(lower), 'two')),
}

t.test('content put at one name of a file is visible at all its names, and the file keeps its identity', async (t) => {
  await withOverlay(
    t,
    [{ one: { content: 'lower', mode: 0o4751 } }],
    async ({ overlay, upper, work, lowers, remount }) => {
      const before = await at(overlay, 'two')
      t.equal((await overlay.getattr(before)).nlink, 2)
      for (const [name, content] of [
        ['one', 'longer than before'],
        ['two', 'short'],
        ['one', ''],
        ['two', 'x'.repeat(300_000)],
      ] as const) {
        t.equal(await put(overlay, name, content), before)
        t.equal(await text(overlay, 'one'), content)
        t.equal(await text(overlay, 'two'), content)
        t.equal((await overlay.getattr(before)).nlink, 2)
        t.same(readdirSync(join(work, 'work')), [])
      }
      t.equal((await overlay.getattr(before)).mode, 0o4751, 'of root, whose writes keep it')
      t.equal(readFileSync(join(String(lowers[0]), 'one'), 'utf8'), 'lower')
      const again = await remount()
      t.equal(await text(again, 'two'), 'x'.repeat(300_000))
      t.equal((await again.getattr(await at(again, 'one'))).nlink, 2)
      t.equal(statSync(join(upper, 'one')).size, 300_000)
    },
    linked,
  )
})

t.test('successive contents of the same size have different times, even if the client sets them', async (t) => {
  await withOverlay(t, [{}], async ({ overlay }) => {
    const inode = await put(overlay, 'a', '0')
    await overlay.link(ROOT, inode, overlay.root, 'b')
    const times = new Set<string>()
    const mtime = { sec: 1_000_000_000, nsec: 999_999_999 }
    for (let i = 1; i <= 9; i++) {
      await put(overlay, i % 2 === 0 ? 'a' : 'b', String(i), i > 5 ? { mtime } : {})
      const attr = await overlay.getattr(inode)
      if (i > 5) t.equal(attr.mtime.sec, mtime.sec)
      times.add(`${attr.mtime.sec}.${attr.mtime.nsec}`)
    }
    t.equal(times.size, 9, [...times].join(' '))
    t.equal(await text(overlay, 'a'), '9')
  })
})

t.test('a file with one name, or whose links need not be kept, is replaced', async (t) => {
  await withOverlay(t, [{}], async ({ overlay }) => {
    const first = await put(overlay, 'a', '1')
    const second = await put(overlay, 'a', '2')
    t.not(first, second)
    await overlay.link(ROOT, second, overlay.root, 'b')
    t.not(await put(overlay, 'a', '3', { keepLinks: false }), second)
    t.equal(await text(overlay, 'b'), '2')
  })
})

t.test('permissions and preconditions are those of any other PUT', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, work }) => {
    const inode = await put(overlay, 'a', 'before')
    await overlay.link(ROOT, inode, overlay.root, 'b')
    const staged = await overlay.stage(ALICE)
    await staged.append([Buffer.from('after')])
    t.equal(
      await errnoOf(() => staged.publish({ dir: overlay.root, name: 'a', mode: 0o640, keepLinks: true })),
      'EACCES',
    )
    const check = () => {
      throw new Error('a condition')
    }
    await t.rejects(put(overlay, 'a', 'after', { check }), /a condition/)
    t.equal(await text(overlay, 'b'), 'before')
    t.same(readdirSync(join(work, 'work')), [])
  })
})

t.test('the next mount completes an overwrite that a crash interrupted', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, upper, work, remount }) => {
    const inode = await put(overlay, 'a', 'old content')
    await overlay.link(ROOT, inode, overlay.root, 'b')
    await overlay.unmount()
    // As it lies there while the file is overwritten.
    writeFileSync(join(work, 'work/#7'), 'the new content')
    linkSync(join(upper, 'a'), join(work, 'work/#7.into'))
    writeFileSync(join(upper, 'a'), 'the ne', { flag: 'r+' })
    // And as it does when all has been written.
    linkSync(join(upper, 'a'), join(work, 'work/#8.into'))
    const again = await remount()
    t.equal(await text(again, 'b'), 'the new content')
    t.equal(statSync(join(upper, 'a')).nlink, 2)
    t.same(readdirSync(join(work, 'work')), [])
  })
})

/** Lets the first `count` calls `op` fail with EIO while `work` runs. */
async function failing(op: string, count: number, work: () => Promise<void>): Promise<void> {
  const EIO = 5
  let left = count
  setFaultPoints({ before: (name) => (name === op && left-- > 0 ? EIO : 0), after: () => undefined })
  try {
    await work()
  } finally {
    setFaultPoints(undefined)
  }
}

t.test('a call that fails while the old content is overwritten is made up for', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, work }) => {
    const inode = await put(overlay, 'a', 'old content')
    await overlay.link(ROOT, inode, overlay.root, 'b')
    for (const op of ['copy_file_range', 'unlinkat']) {
      await failing(op, 1, async () => void (await put(overlay, 'a', `the new content: ${op}`)))
      t.equal(await text(overlay, 'b'), `the new content: ${op}`)
      t.equal((await overlay.getattr(inode)).nlink, 2)
      t.same(readdirSync(join(work, 'work')), [])
    }
  })
})

t.test('if the disk fails twice, the call fails, and the next mount completes it', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, upper, work, remount }) => {
    const inode = await put(overlay, 'a', 'old content')
    await overlay.link(ROOT, inode, overlay.root, 'b')
    await failing('copy_file_range', 2, async () => {
      t.equal(await errnoOf(() => put(overlay, 'a', 'the new content')), 'EIO')
    })
    t.equal(readdirSync(join(work, 'work')).length, 2)
    const again = await remount()
    t.equal(await text(again, 'b'), 'the new content')
    t.equal(statSync(join(upper, 'a')).nlink, 2)
    t.same(readdirSync(join(work, 'work')), [])
  })
})
