import { appendFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { CacheBudget } from '../../../overlay-core/base/cache-budget.ts'
import { FileType, type Inode, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import type { Budgets } from '../../../overlay-core/mount/budgets.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
const DIRECTORIES = 12
const FILES = 5

function smallBudgets(): Budgets {
  const budget = (limit: number) => new CacheBudget(() => limit)
  return { names: budget(20), listings: budget(15), directories: budget(4), files: budget(3) }
}

/** Mounts overlays with the same budgets, each over a lower of its own whose files contain the name of the overlay. */
async function mountAll(t: Test, names: readonly string[], budgets: Budgets): Promise<Overlay[]> {
  const dir = await mkdtemp(join(tmpdir(), 'overlayd-budgets-'))
  const overlays: Overlay[] = []
  t.teardown(async () => {
    await Promise.allSettled(overlays.map((overlay) => overlay.unmount()))
    rmSync(dir, { recursive: true })
  })
  for (const name of names) {
    for (let i = 0; i < DIRECTORIES; i++) {
      mkdirSync(join(dir, name, 'lower', `d${i}`), { recursive: true })
      for (let j = 0; j < FILES; j++) writeFileSync(join(dir, name, 'lower', `d${i}`, `f${j}`), `${name} ${i} ${j}`)
    }
    for (const part of ['upper', 'work']) mkdirSync(join(dir, name, part))
    const options = ['lower', 'upper', 'work'].map((part) => `${part}dir=${dir}/${name}/${part}`).join(',')
    overlays.push(await mount(parseOptions(options), { budgets }))
  }
  return overlays
}

/** The content of every file, by path. */
async function contents(overlay: Overlay, dir: Inode = overlay.root, path = ''): Promise<Record<string, string>> {
  const names: string[] = []
  await overlay.readdir(ROOT, dir, 0, ({ name }) => names.push(name) > 0)
  const found: Record<string, string> = {}
  for (const name of names) {
    const inode = (await overlay.lookup(ROOT, dir, name)) as Inode
    if (inode.type === FileType.directory) Object.assign(found, await contents(overlay, inode, `${path}/${name}`))
    else {
      const buffer = Buffer.alloc(100)
      found[`${path}/${name}`] = buffer.toString(
        'latin1',
        0,
        await overlay.read(ROOT, inode, buffer, 0, buffer.length, 0),
      )
    }
  }
  return found
}

function expected(name: string): Record<string, string> {
  const files: Record<string, string> = {}
  for (let i = 0; i < DIRECTORIES; i++) for (let j = 0; j < FILES; j++) files[`/d${i}/f${j}`] = `${name} ${i} ${j}`
  return files
}

t.test('overlays that share small budgets stay correct, at once and in turn, and within the budgets', async (t) => {
  const budgets = smallBudgets()
  const names = ['one', 'two', 'three']
  const overlays = await mountAll(t, names, budgets)
  const all = await Promise.all(overlays.map((overlay) => contents(overlay)))
  for (const [i, name] of names.entries()) t.same(all[i], expected(name), `${name}, while the others are read`)
  for (const [i, name] of names.entries()) {
    t.same(await contents(overlays[i] as Overlay), expected(name), `${name}, alone`)
    t.ok(budgets.names.used <= 20, `${budgets.names.used} names`)
    t.ok(budgets.listings.used <= 15, `${budgets.listings.used} entries`)
    t.ok(budgets.directories.used <= 4, `${budgets.directories.used} directories`)
    t.ok(budgets.files.used <= 3, `${budgets.files.used} files`)
  }
  for (const overlay of overlays) await overlay.unmount()
  t.same(
    Object.values(budgets).map((budget: CacheBudget) => budget.used),
    [0, 0, 0, 0],
    'nothing counts after unmount',
  )
})

t.test('open files of all overlays together leave descriptors to others', async (t) => {
  const budgets = smallBudgets()
  const overlays = await mountAll(t, ['a', 'b', 'c', 'd'], budgets)
  const before = readdirSync('/proc/self/fd').length
  await Promise.all(overlays.map((overlay) => contents(overlay)))
  // Descriptors are closed after the calls that used them.
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.ok(readdirSync('/proc/self/fd').length - before <= 4 + 3 + 2)
})

t.test('overlays can be mounted and remounted while others use up all descriptors of directories', async (t) => {
  const budgets: Budgets = { ...smallBudgets(), directories: new CacheBudget(() => 1) }
  const [busy, other] = (await mountAll(t, ['busy', 'other'], budgets)) as [Overlay, Overlay]
  let ended = false
  const reading = (async () => {
    while (!ended) t.same(await contents(busy), expected('busy'))
  })()
  for (let i = 0; i < 5; i++) {
    const [one, two] = (await mountAll(t, [`one${i}`, `two${i}`], budgets)) as [Overlay, Overlay]
    await Promise.all([one.remount(one.options), other.remount(other.options)])
    t.same(await contents(one), expected(`one${i}`))
    await Promise.all([one.unmount(), two.unmount()])
  }
  ended = true
  await reading
  t.same(await contents(other), expected('other'))
})

async function openAndClose(overlay: Overlay, inode: Inode): Promise<void> {
  const file = await overlay.open(ROOT, inode, { write: true })
  file.close()
}

t.test('directories are closed while large files are copied up and others wait for the copies', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'overlayd-budgets-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  for (const part of ['lower', 'upper', 'work']) mkdirSync(join(dir, part))
  for (let i = 0; i < 500; i++) mkdirSync(join(dir, 'lower', `d${i}`))
  for (let i = 0; i < 500; i++) writeFileSync(join(dir, 'lower', `d${i}`, 'f'), '')
  const piece = Buffer.alloc(32 * 1024 * 1024, 1)
  const large = ['written', 'opened', 'moved']
  for (const name of large) for (let i = 0; i < 8; i++) appendFileSync(join(dir, 'lower', name), piece)
  const options = ['lower', 'upper', 'work'].map((part) => `${part}dir=${dir}/${part}`).join(',')
  const budgets = { ...smallBudgets(), directories: new CacheBudget(() => 20) }
  const overlay = await mount(parseOptions(options), { budgets })
  t.teardown(() => overlay.unmount())
  const [written, opened] = await Promise.all(large.map((name) => overlay.lookup(ROOT, overlay.root, name)))
  const count = () => readdirSync('/proc/self/fd').length
  const before = count()
  let copying = 5
  const ends = [
    overlay.write(ROOT, written as Inode, Buffer.from('changed'), 0, 'unstable'),
    overlay.write(ROOT, written as Inode, Buffer.from('again'), 100, 'unstable'),
    overlay.setattr(ROOT, written as Inode, { mode: 0o600 }),
    openAndClose(overlay, opened as Inode),
    overlay.rename(ROOT, overlay.root, 'moved', overlay.root, 'new'),
  ].map((end) => Promise.resolve(end).finally(() => copying--))
  let walked = 0
  const counts: number[] = []
  while (copying > 0) {
    const inside = (await overlay.lookup(ROOT, overlay.root, `d${walked % 500}`)) as Inode
    await overlay.lookup(ROOT, inside, 'f')
    if (++walked % 10 === 0) await turn()
    if (walked % 25 === 0) counts.push(count())
  }
  await Promise.all(ends)
  // For moments no call rests. If directories were closed only at the end, the median would be half of those walked.
  const median = counts.sort((a, b) => a - b)[counts.length >> 1] as number
  t.ok(walked >= 300, `${walked} directories meanwhile`)
  t.ok(median < before + 300, `${before} descriptors became ${median}`)
  for (let i = 0; i < 40; i++) t.ok(await overlay.lookup(ROOT, overlay.root, `d${i}`))
})
