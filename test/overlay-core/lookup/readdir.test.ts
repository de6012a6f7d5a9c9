import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import type { Overlay } from '../../../overlay-core/index.ts'
import { cookieOf } from '../../../overlay-core/stack/merged-listing.ts'
import { ALICE, at, errnoOf, type Fixture, list, onDisk, put, ROOT, withOverlay } from '../../helpers/overlay.ts'

const MODE = { mode: 0o644 }

/** Reads a directory `step` entries at a time; `between` runs after each part. */
async function walk(
  overlay: Overlay,
  path: string,
  step: number,
  between: (round: number) => Promise<Overlay>,
): Promise<string[]> {
  const names: string[] = []
  let cookie = 0
  let current = overlay
  for (let round = 0; ; round++) {
    let taken = 0
    const done = await current.readdir(ROOT, await at(current, path), cookie, (entry) => {
      if (taken === step) return false
      taken++
      names.push(entry.name)
      cookie = entry.cookie
      return true
    })
    if (done) return names
    current = await between(round)
  }
}

t.test('an entry that exists throughout is listed exactly once, whatever changes meanwhile', async (t) => {
  const tree = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`d/keep${i}`, '']))
  const extra = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`d/drop${i}`, '']))
  await withOverlay(t, [tree, extra], async (fixture) => {
    const names = await walk(fixture.overlay, 'd', 7, async (round) => {
      let { overlay } = fixture
      const dir = await at(overlay, 'd')
      await overlay.create(ROOT, dir, `added${round}`, MODE)
      await overlay.unlink(ROOT, dir, `drop${round}`)
      await overlay.rename(ROOT, dir, `drop${99 - round}`, overlay.root, `out${round}`)
      if (round % 10 === 9) overlay = await fixture.remount()
      return overlay
    })
    const kept = names.filter((name) => name.startsWith('keep')).sort()
    t.same(
      kept,
      Object.keys(tree)
        .map((path) => path.slice(2))
        .sort(),
    )
    t.equal(new Set(names).size, names.length, 'no name twice')
  })
})

t.test('readdir and getattr agree on every file id, before and after copy-up', async (t) => {
  await withOverlay(
    t,
    [
      { 'd/a': '', 'd/sub/x': '', 'd/l': '-> a' },
      { 'd/b': '', 'd/sub/y': '', h: 'x', 'd/hard': '= h' },
    ],
    async (fixture) => {
      const check = async (overlay: Overlay) => {
        const dir = await at(overlay, 'd')
        const seen: [string, number, number, number][] = []
        await overlay.readdir(ROOT, dir, 0, (entry) => {
          seen.push([entry.name, entry.fileIdHi, entry.fileIdLo, entry.type])
          return true
        })
        for (const [name, hi, lo, type] of seen) {
          const attr = await overlay.getattr(await at(overlay, `d/${name}`))
          t.same([hi, lo, type], [attr.fileIdHi, attr.fileIdLo, attr.type], name)
        }
        return seen.sort()
      }
      const before = await check(fixture.overlay)
      await put(fixture.overlay, 'd/a', 'x')
      await put(fixture.overlay, 'd/hard', 'y')
      await fixture.overlay.create(ROOT, await at(fixture.overlay, 'd/sub'), 'new', MODE)
      t.same(await check(fixture.overlay), before, 'nothing changes its id by copy-up')
      t.same(await check(await fixture.remount()), before, 'nor by a restart')
    },
  )
})

t.test('readdirPlus gives objects and attributes, and neither without search permission', async (t) => {
  await withOverlay(t, [{ 'd/': { mode: 0o744 }, 'd/a': 'one', 'd/b/': '' }], async ({ overlay }) => {
    const dir = await at(overlay, 'd')
    const collect = async (cred: typeof ROOT) => {
      const entries: [string, number | undefined][] = []
      await overlay.readdirPlus(cred, dir, 0, (entry) => {
        entries.push([entry.name, entry.attr?.size])
        t.equal(entry.inode === undefined, entry.attr === undefined)
        return true
      })
      return entries.sort()
    }
    t.same((await collect(ROOT))[0], ['a', 3])
    t.same(await collect(ALICE), [
      ['a', undefined],
      ['b', undefined],
    ])
    await overlay.setattr(ROOT, dir, { mode: 0o700 })
    t.equal(await errnoOf(() => collect(ALICE)), 'EACCES')
  })
})

t.test('a cached listing follows every change without reading the layers again', async (t) => {
  await withOverlay(t, [{ 'd/a': '', 'd/b': '' }], async ({ overlay, upper }) => {
    await list(overlay, 'd')
    const dir = await at(overlay, 'd')
    await overlay.create(ROOT, dir, 'c', MODE)
    await overlay.unlink(ROOT, dir, 'a')
    await overlay.rename(ROOT, dir, 'b', dir, 'z')
    await overlay.link(ROOT, await at(overlay, 'd/z'), dir, 'linked')
    t.same(await list(overlay, 'd'), ['c', 'linked', 'z'])
    t.same(onDisk(join(upper, 'd')), ['!a', '!b', 'c', 'linked', 'z'])
  })
})

t.test('cookies are safe integers above the reserved ones, and differ between names', (t) => {
  const seed = new Uint8Array(16).fill(7)
  const cookies = new Set<number>()
  for (let i = 0; i < 50_000; i++) {
    const cookie = cookieOf(seed, `name-${i}`)
    if (!Number.isSafeInteger(cookie) || cookie < 2) t.fail(`cookie ${cookie}`)
    cookies.add(cookie)
  }
  t.equal(cookies.size, 50_000)
  t.end()
})

t.test('a name that is given to another object meanwhile is listed with attributes', async (t) => {
  const tree = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`d/f${i}`, '']))
  // Attributes of files that are not open have to be read again after each write.
  const settings = { environment: { fileLimit: 1 } }
  const replaceAll = async ({ overlay }: Fixture) => {
    const dir = await at(overlay, 'd')
    let replaced = 0
    const replacing = Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        for (; replaced < 400; replaced++) {
          const old = await overlay.lookup(ROOT, dir, `f${i}`)
          await overlay.create(ROOT, dir, `new${i}`, MODE)
          await overlay.write(ROOT, old!, Buffer.from('content'), 0, 'unstable')
          await overlay.rename(ROOT, dir, `new${i}`, dir, `f${i}`)
        }
      }),
    )
    let listings = 0
    for (; replaced < 400; listings++) {
      const seen: string[] = []
      await overlay.readdirPlus(ROOT, dir, 0, ({ name, attr }) => {
        if (name.startsWith('f') && attr !== undefined) seen.push(name)
        return true
      })
      if (seen.length !== 8) t.fail(`listing ${listings} has ${seen}`)
      await setImmediate()
    }
    await replacing
    t.ok(listings > 10, `${listings} listings`)
  }
  await withOverlay(t, [tree], replaceAll, settings)
})
