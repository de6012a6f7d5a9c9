import { existsSync, linkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileType, type Inode, type Overlay, Quota, type QuotaLimits, type Usage } from '../../overlay-core/index.ts'
import { at, errnoOf, onDisk, put, ROOT, type Tree, text, withOverlay } from '../helpers/overlay.ts'
import { usageOf } from '../helpers/upper-usage.ts'

t.setTimeout(120_000)

const KiB = 1024
const DEEP = 'd'.repeat(200)

interface Limited {
  readonly overlay: Overlay
  readonly quota: Quota
  readonly upper: string
  /** What is really in the upper and the index. */
  real(): Usage
  /** What the quota says. */
  counted(): Usage
}

async function withQuota(
  t: Test,
  { limits, lower = {}, options = '' }: { limits: QuotaLimits; lower?: Tree; options?: string },
  test: (limited: Limited) => Promise<void>,
): Promise<void> {
  const quota = new Quota(limits, { bytes: 0, files: 0 }, false, { wallClockMs: () => 0 })
  const prepare = ([first]: readonly string[]) => {
    if (lower['link-a'] !== undefined) linkSync(join(first as string, 'link-a'), join(first as string, 'link-b'))
  }
  const settings = { environment: { quota }, options, prepare }
  await withOverlay(
    t,
    [lower],
    async ({ overlay, upper, work }) => {
      const index = join(work, 'index')
      const real = () => usageOf(upper, ...(existsSync(index) ? [index] : []))
      const counted = () => ({ bytes: quota.state.bytes, files: quota.state.files })
      await test({ overlay, quota, upper, real, counted })
      t.same(counted(), real(), 'the usage is exact at the end')
      t.same(await quota.counter?.(), { bytes: 0, files: 0 }, 'and a recount agrees')
    },
    settings,
  )
}

async function publish(
  overlay: Overlay,
  name: string,
  content: Uint8Array | string,
  keepLinks = false,
): Promise<Inode> {
  const staged = await overlay.stage(ROOT)
  await staged.append([Buffer.from(content)])
  return await staged.publish({ dir: overlay.root, name, mode: 0o644, keepLinks })
}

t.test('a write beyond the hard limit is refused as a whole', async (t) => {
  await withQuota(t, { limits: { hardBytes: 10 } }, async ({ overlay, counted, upper }) => {
    const file = await overlay.create(ROOT, overlay.root, 'f', { mode: 0o644 })
    await overlay.write(ROOT, file, Buffer.from('12345678'), 0, 'unstable')
    t.equal(await errnoOf(() => overlay.write(ROOT, file, Buffer.from('abcd'), 7, 'unstable')), 'EDQUOT')
    t.equal(await text(overlay, 'f'), '12345678')
    await overlay.write(ROOT, file, Buffer.from('abc'), 7, 'unstable')
    t.equal(await text(overlay, 'f'), '1234567abc')
    t.same(counted(), { bytes: 10, files: 1 })
    t.equal(await errnoOf(() => overlay.setattr(ROOT, file, { size: 11 })), 'EDQUOT')
    await overlay.setattr(ROOT, file, { size: 3 })
    t.equal(await text(overlay, 'f'), '123', 'truncating to less works at the limit')
    t.equal(await errnoOf(() => publish(overlay, 'g', '12345678')), 'EDQUOT')
    t.same(onDisk(upper), ['f'])
  })
})

t.test('at the limit of files nothing can be added, and everything can be removed and replaced', async (t) => {
  const lower = { low: 'lower', 'dir/in': 'x', 'link-a': 'linked' }
  await withQuota(t, { limits: { hardFiles: 3 }, lower }, async ({ overlay, counted }) => {
    const { root } = overlay
    await overlay.create(ROOT, root, 'a', { mode: 0o644 })
    await overlay.mkdir(ROOT, root, 'd', { mode: 0o755 })
    await overlay.symlink(ROOT, root, 's', Buffer.from('target'), { mode: 0o777 })
    const refused: readonly [string, () => unknown][] = [
      ['create', () => overlay.create(ROOT, root, 'b', { mode: 0o644 })],
      ['mkdir', () => overlay.mkdir(ROOT, root, 'b', { mode: 0o755 })],
      ['symlink', () => overlay.symlink(ROOT, root, 'b', Buffer.from('x'), { mode: 0o777 })],
      ['mknod', () => overlay.mknod(ROOT, root, 'b', FileType.fifo, { major: 0, minor: 0 }, { mode: 0o644 })],
      ['publish', () => publish(overlay, 'b', 'x')],
      ['publish over a lower file', () => publish(overlay, 'low', 'x')],
      ['copy-up by write', async () => overlay.write(ROOT, await at(overlay, 'low'), Buffer.from('x'), 0, 'unstable')],
      ['copy-up by chmod', async () => overlay.setattr(ROOT, await at(overlay, 'dir'), { mode: 0o700 })],
    ]
    for (const [what, attempt] of refused) t.equal(await errnoOf(attempt), 'EDQUOT', what)
    t.equal(await errnoOf(() => overlay.create(ROOT, root, 'a', { mode: 0o644 })), 'EEXIST', 'the more exact error')
    t.same(counted(), { bytes: 0, files: 3 })
    await publish(overlay, 'a', 'replaced')
    await overlay.link(ROOT, await at(overlay, 'a'), root, 'a2')
    t.same(counted(), { bytes: 8, files: 3 }, 'a replacement and a hard link add no file')
    await overlay.unlink(ROOT, root, 'low')
    t.same(counted(), { bytes: 8, files: 3 }, 'a whiteout is no file')
    await overlay.unlink(ROOT, await at(overlay, 'dir'), 'in')
    t.same(counted(), { bytes: 8, files: 4 }, 'a removal in a lower directory copies that up, whatever the limit is')
    await overlay.rmdir(ROOT, root, 'dir')
    await overlay.unlink(ROOT, root, 'link-a')
    await overlay.unlink(ROOT, root, 'link-b')
    t.same(counted(), { bytes: 8, files: 3 })
    await overlay.restore(ROOT, root, 'low')
    await overlay.unlink(ROOT, root, 'a')
    t.same(counted(), { bytes: 8, files: 3 }, 'the file has another name')
    await overlay.rename(ROOT, root, 's', root, 'a2')
    t.same(counted(), { bytes: 0, files: 2 }, 'the last name was replaced')
    await overlay.rmdir(ROOT, root, 'd')
  })
})

t.test('a file that replaces another needs only the difference, and restoring works at the limit', async (t) => {
  const lower = { low: 'x'.repeat(50) }
  await withQuota(t, { limits: { hardBytes: 100 }, lower }, async ({ overlay, counted, upper }) => {
    await publish(overlay, 'f', 'y'.repeat(60))
    t.equal(await errnoOf(() => publish(overlay, 'f', 'z'.repeat(101))), 'EDQUOT')
    t.equal(await text(overlay, 'f'), 'y'.repeat(60), 'the old content stays')
    await publish(overlay, 'f', 'z'.repeat(100))
    t.same(counted(), { bytes: 100, files: 1 })
    t.equal(await errnoOf(() => publish(overlay, 'low', 'a')), 'EDQUOT')
    await publish(overlay, 'f', 'z'.repeat(50))
    await put(overlay, 'low', 'b')
    t.same(counted().files, 2)
    await overlay.restore(ROOT, overlay.root, 'low')
    t.same(counted(), { bytes: 50, files: 1 })
    await overlay.link(ROOT, await at(overlay, 'f'), overlay.root, 'g')
    t.equal(await errnoOf(() => publish(overlay, 'g', 'c'.repeat(101), true)), 'EDQUOT', 'also in place')
    await publish(overlay, 'g', 'c'.repeat(99), true)
    t.equal(await text(overlay, 'f'), 'c'.repeat(99))
    t.equal(statSync(join(upper, 'g')).size, 99)
  })
})

t.test('a lower file that is truncated counts only what stays of it', async (t) => {
  const lower = { big: 'x'.repeat(200 * KiB) }
  await withQuota(t, { limits: { hardBytes: KiB }, lower }, async ({ overlay, counted }) => {
    const big = await at(overlay, 'big')
    t.equal(await errnoOf(() => overlay.write(ROOT, big, Buffer.from('x'), 0, 'unstable')), 'EDQUOT')
    await overlay.setattr(ROOT, big, { size: 10 })
    t.same(counted(), { bytes: 10, files: 1 })
  })
})

t.test('a removed file that is still open is not counted and cannot grow', async (t) => {
  await withQuota(t, { limits: { hardBytes: 100 } }, async ({ overlay, counted }) => {
    const file = await publish(overlay, 'f', 'x'.repeat(80))
    const open = await overlay.open(ROOT, file, { read: true, write: true })
    await overlay.unlink(ROOT, overlay.root, 'f')
    t.same(counted(), { bytes: 0, files: 0 })
    await open.write(Buffer.from('y'), 0)
    t.equal(await errnoOf(() => open.write(Buffer.from('y'), 80)), 'EDQUOT')
    t.equal(await errnoOf(() => open.truncate(81)), 'EDQUOT')
    await open.truncate(1)
    open.close()
  })
})

t.test('above the soft limit there is a grace time', async (t) => {
  let nowMs = 1000
  const told: string[] = []
  const parts = { wallClockMs: () => nowMs, aboveSoft: (what: string) => void told.push(what) }
  const quota = new Quota({ softBytes: 10, hardBytes: 20, graceMs: 500 }, { bytes: 0, files: 0 }, false, parts)
  quota.reserve(11, 0, 'write')
  quota.reserve(1, 0, 'write')
  t.same(told, ['bytes'], 'it is told once')
  t.equal(quota.state.bytesAboveSinceMs, 1000)
  nowMs = 1499
  t.equal(quota.admits(1, 0), true)
  nowMs = 1500
  t.equal(quota.admits(1, 0), false, 'the time is over')
  t.equal(quota.limits.bytes, 10)
  quota.reserve(-3, 0, 'truncate')
  t.equal(quota.admits(11, 0), true, 'below the soft limit the hard one counts again')
  t.equal(quota.state.bytesAboveSinceMs, undefined)
  quota.setLimits({ softBytes: 5, hardBytes: 5 })
  t.same(told, ['bytes', 'bytes'])
  t.equal(quota.admits(0, 1), true)
})

t.test('statfs shows the quota', async (t) => {
  const limits = { hardBytes: 1000, hardFiles: 5 }
  await withQuota(t, { limits }, async ({ overlay, quota }) => {
    await publish(overlay, 'f', 'x'.repeat(400))
    const { totalBytes, freeBytes, availableBytes, totalFiles, freeFiles } = await overlay.statfs()
    t.same([totalBytes, freeBytes, availableBytes, totalFiles, freeFiles], [1000, 600, 600, 5, 4])
    quota.setLimits({ hardBytes: 100 })
    t.same((await overlay.statfs()).freeBytes, 0, 'never negative')
    quota.setLimits({})
    t.ok((await overlay.statfs()).freeBytes > 1000)
  })
})

t.test('a recount mends a wrong usage, in a tree of any depth', async (t) => {
  await withQuota(t, { limits: {} }, async ({ overlay, quota, counted }) => {
    const dirs = [overlay.root]
    for (let depth = 0; depth < 60; depth++) dirs.push(await overlay.mkdir(ROOT, dirs.at(-1)!, DEEP, { mode: 0o755 }))
    await overlay.create(ROOT, dirs.at(-1)!, 'deep', { mode: 0o644, size: 7 })
    quota.correct({ bytes: 1000, files: 0 })
    quota.doubtful = true
    t.same(await quota.counter?.(), { bytes: -993, files: 61 })
    t.same(counted(), { bytes: 7, files: 61 })
    t.equal(quota.doubtful, false)
    await overlay.unlink(ROOT, dirs.pop()!, 'deep')
    while (dirs.length > 0) await overlay.rmdir(ROOT, dirs.pop()!, DEEP)
  })
})

/** A repeatable sequence of numbers below `below`. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

for (const options of ['', ',index=on', ',metacopy=on,redirect_dir=on', ',whiteouts=files', ',fsync=volatile']) {
  t.test(`the usage is exact and never above the limit under concurrent changes${options}`, async (t) => {
    const lower: Record<string, string> = { 'link-a': 'linked'.repeat(20) }
    for (let i = 0; i < 6; i++) Object.assign(lower, { [`f${i}`]: 'x'.repeat(i * 700), [`d${i}/in`]: 'in'.repeat(i) })
    const limits = { hardBytes: 20 * KiB, hardFiles: 16 }
    await withQuota(t, { limits, lower, options }, async ({ overlay, real, counted }) => {
      const done = { ok: 0, refused: 0 }
      for (let round = 0; round < 25; round++) {
        await Promise.all(
          Array.from({ length: 8 }, (_, worker) => changes(overlay, randomOf(round * 8 + worker), done)),
        )
        t.same(counted(), real(), `after round ${round}`)
        if (real().bytes > limits.hardBytes) t.fail(`above the hard limit after round ${round}`)
      }
      t.ok(done.ok > 200 && done.refused > 40, JSON.stringify(done))
    })
  })
}

/** Makes a few random changes; refused and impossible ones are part of them. */
async function changes(
  overlay: Overlay,
  random: (below: number) => number,
  done: { ok: number; refused: number },
): Promise<void> {
  const { root } = overlay
  const own = () => ['f', 'd', 'n'][random(3)] + String(random(6))
  const name = () => (random(8) === 0 ? (['link-a', 'link-b'][random(2)] as string) : own())
  const bytes = () => Buffer.alloc(random(4000), 97)
  const found = async () => (await overlay.lookup(ROOT, root, name())) ?? root
  const kinds: readonly (() => unknown)[] = [
    () => overlay.create(ROOT, root, name(), { mode: 0o644, size: random(2) * random(3000) }),
    () => overlay.mkdir(ROOT, root, name(), { mode: 0o755 }),
    async () => overlay.create(ROOT, await found(), 'in', { mode: 0o644 }),
    () => overlay.symlink(ROOT, root, name(), Buffer.from('x'), { mode: 0o777 }),
    async () => overlay.write(ROOT, await found(), bytes(), random(3000), 'unstable'),
    async () => overlay.write(ROOT, await found(), bytes(), random(3000), 'unstable'),
    async () => overlay.setattr(ROOT, await found(), { size: random(5000) }),
    async () => overlay.setattr(ROOT, await found(), { mode: 0o600 + random(64) }),
    () => publish(overlay, name(), bytes()),
    () => publish(overlay, name(), bytes(), true),
    async () => overlay.link(ROOT, await found(), root, name()),
    () => overlay.unlink(ROOT, root, name()),
    () => overlay.unlink(ROOT, root, name()),
    () => overlay.rmdir(ROOT, root, name()),
    async () => overlay.unlink(ROOT, await found(), 'in'),
    () => overlay.rename(ROOT, root, name(), root, name()),
    () => overlay.rename(ROOT, root, name(), root, name(), { exchange: true }),
    () => overlay.restore(ROOT, root, name()),
  ]
  for (let i = 0; i < 12; i++) {
    try {
      await kinds[random(kinds.length)]?.()
      done.ok++
    } catch (error) {
      if ((error as { code?: string }).code === 'EDQUOT') done.refused++
      else if (!(error as { code?: string }).code) throw error
    }
  }
}
