import { readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Inode, Overlay, StagedFile } from '../../../overlay-core/index.ts'
import { at, ROOT, text, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'

async function replace(overlay: Overlay, content: string, mode?: number): Promise<Inode> {
  const staged = await overlay.stage(ROOT, mode === undefined ? undefined : { mode, uid: 7 })
  await staged.append([Buffer.from(content)])
  return await staged.publish({ dir: overlay.root, name: 'file', mode: 0o640 })
}

t.test('the expected mode of a staged file has no effect on the result', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, upper }) => {
    await replace(overlay, 'new', 0o777)
    t.equal(statSync(join(upper, 'file')).mode & 0o7777, 0o640, 'of a new file it is that of publish')
    t.equal(statSync(join(upper, 'file')).uid, 0)
    await overlay.setattr(ROOT, await at(overlay, 'file'), { mode: 0o604 })
    await replace(overlay, 'second', 0o640)
    t.equal(statSync(join(upper, 'file')).mode & 0o7777, 0o604, 'of a replaced one that which it had')
    t.equal((await overlay.getattr(await at(overlay, 'file'))).mode, 0o604)
    await replace(overlay, 'third', 0o604)
    t.equal(statSync(join(upper, 'file')).mode & 0o7777, 0o604)
  })
})

t.test('the attributes of a published file are those on the disk', async (t) => {
  await withOverlay(t, [{ file: 'lower' }], async ({ overlay, upper }) => {
    const mtime = { sec: 1_000_000_000, nsec: 5 }
    for (const name of ['new', 'file']) {
      const staged = await overlay.stage(ROOT)
      await staged.append([Buffer.from('content')])
      const inode = await staged.publish({ dir: overlay.root, name, mode: 0o640, mtime })
      const attr = await overlay.getattr(inode)
      const { sec, nsec } = attr.ctime
      const stat = statSync(join(upper, name), { bigint: true })
      t.same([attr.size, attr.nlink, attr.mtime, BigInt(attr.blocks)], [7, 1, mtime, stat.blocks])
      t.equal(BigInt(sec) * 1_000_000_000n + BigInt(nsec), stat.ctimeNs, name)
    }
  })
})

t.test('attributes set between replacements are kept, and a file without any needs none', async (t) => {
  await withOverlay(t, [{ file: 'lower' }], async ({ overlay, upper }) => {
    await replace(overlay, 'one')
    const second = await replace(overlay, 'two')
    await overlay.setxattr(ROOT, second, 'user.mark', Buffer.from('kept'))
    await overlay.setProtocolData(ROOT, second, 'dav', Buffer.from('note'))
    const third = await replace(overlay, 'three')
    t.equal(xattrOnDisk(join(upper, 'file'), 'user.mark'), 'kept')
    await replace(overlay, 'four')
    t.equal(xattrOnDisk(join(upper, 'file'), 'user.mark'), 'kept', 'also once more')
    const now = await at(overlay, 'file')
    t.equal(Buffer.from((await overlay.getProtocolData(ROOT, now, 'dav')) ?? []).toString(), 'note')
    t.equal(await text(overlay, 'file'), 'four')
    t.not(now, third)
  })
})

/** What descriptors of this process are open on, as the kernel names it, below `dir`. */
function openBelow(dir: string): string[] {
  // What the runner of the tests prints to may be a file there as well.
  const own = readdirSync('/proc/self/fd').filter((fd) => Number(fd) > 2)
  const targets = own.map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      // The descriptor of the listing itself.
      return ''
    }
  })
  return targets.filter((target) => target.startsWith(`${dir}/`))
}

t.test('a replaced file is removed at once, and the new one is written to the disk a moment later', async (t) => {
  const ticks = new Set<() => void>()
  const clock = {
    now: () => 0,
    every: (ms: number, tick: () => void) => {
      if (ms < 1000) ticks.add(tick)
      return () => ticks.delete(tick)
    },
  }
  await withOverlay(
    t,
    [{ file: 'lower' }],
    async ({ overlay, upper, work }) => {
      await replace(overlay, 'one')
      t.equal(ticks.size, 0, 'over a lower there is nothing in the upper to lose')
      await replace(overlay, 'two')
      await replace(overlay, 'three')
      t.equal(await text(overlay, 'file'), 'three')
      t.same(readdirSync(upper), ['file'])
      t.same(readdirSync(join(work, 'work')), [], 'what was replaced does not stay in the workdir')
      t.equal(ticks.size, 1)
      const held = () => openBelow(upper).filter((path) => path === join(upper, 'file')).length
      const before = held()
      // The disk may take its time, and a close comes after it.
      while (ticks.size > 0 || held() >= before) {
        for (const tick of [...ticks]) tick()
        await new Promise((resolve) => setImmediate(resolve))
      }
      t.equal(ticks.size, 0, 'with nothing left to do it waits for the next one')
      t.equal(held(), before - 1)
      for (let i = 0; i < 400; i++) await replace(overlay, `many ${i}`)
      t.equal(await text(overlay, 'file'), 'many 399', 'also when more wait than are let')
      t.same(readdirSync(join(work, 'work')), [])
    },
    { environment: { clock } },
  )
  t.same(openBelow(tmpdir()), [], 'nothing stays open')
})

t.test('an open file and a second name keep the replaced content', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, upper }) => {
    const first = await replace(overlay, 'first')
    await overlay.link(ROOT, first, overlay.root, 'second')
    const file = await overlay.open(ROOT, first, { read: true })
    await replace(overlay, 'other')
    t.equal(await text(overlay, 'second'), 'first')
    t.equal((await overlay.getattr(await at(overlay, 'second'))).nlink, 1)
    t.equal(statSync(join(upper, 'file')).nlink, 1)
    const buffer = Buffer.alloc(5)
    t.equal(await file.read(buffer, 0, 5, 0), 5)
    t.equal(buffer.toString(), 'first')
    file.close()
  })
})

t.test('a resumable file and its record survive the overlay; one without the other is removed', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, upper, work, remount }) => {
    t.same(await overlay.resumableStages(() => ROOT), [])
    const about = Buffer.from('where it goes')
    const first = await overlay.stage(ROOT, { mode: 0o644 }, { id: 'first-1', about })
    await first.append([Buffer.from('hello ')])
    await first.suspend()
    const second = await overlay.stage(ROOT, undefined, { id: 'second-2', about })
    await second.append([Buffer.alloc(300_000, 'x')])
    await t.rejects(overlay.stage(ROOT, undefined, { id: 'first-1', about }), { code: 'EEXIST' })
    for (const id of ['', '../x', 'A', 'x'.repeat(65)]) {
      await t.rejects(overlay.stage(ROOT, undefined, { id, about }), { code: 'EINVAL' })
    }
    await overlay.unmount()
    writeFileSync(join(work, 'uploads/orphan.about'), 'x')
    writeFileSync(join(work, 'uploads/stray'), 'x')
    const again = await remount()
    const kept = (await again.resumableStages(() => ROOT)).sort((a, b) => (a.id < b.id ? -1 : 1))
    t.same(
      kept.map(({ id, about, staged }) => [id, Buffer.from(about).toString(), staged.sizeBytes]),
      [
        ['first-1', 'where it goes', 6],
        ['second-2', 'where it goes', 300_000],
      ],
    )
    t.same(readdirSync(join(work, 'uploads')).sort(), ['first-1', 'first-1.about', 'second-2', 'second-2.about'])
    const [one, two] = kept.map(({ staged }) => staged) as [StagedFile, StagedFile]
    await one.append([Buffer.from('world')])
    await one.publish({ dir: again.root, name: 'file', mode: 0o644 })
    t.equal(await text(again, 'file'), 'hello world')
    t.equal(statSync(join(upper, 'file')).nlink, 1)
    await two.discard()
    t.same(readdirSync(join(work, 'uploads')), [])
    t.same(readdirSync(join(work, 'work')), [])
  })
})
