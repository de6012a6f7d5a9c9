import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode, Overlay } from '../../../overlay-core/index.ts'
import { kernelOverlay } from '../../helpers/kernel-mount.ts'
import { at, errnoOf, list, onDisk, put, ROOT, text, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const PREFIX = process.getuid?.() === 0 ? 'trusted.overlay.' : 'user.overlay.'

t.test('overlay.origin is the kernel’s encoded file handle of the lower object', { skip }, async (t) => {
  await withOverlay(t, [{ f: 'x', 'd/g': 'y' }], async ({ overlay, upper, dir, lowers }) => {
    for (const path of ['f', 'd/g']) await put(overlay, path, 'changed')
    for (const name of ['u', 'w', 'm']) mkdirSync(join(dir, name))
    await kernelOverlay(join(dir, 'm'), `lowerdir=${lowers[0]},upperdir=${dir}/u,workdir=${dir}/w,index=on`, () => {
      for (const path of ['f', 'd/g']) execFileSync('touch', [join(dir, 'm', path)])
    })
    for (const path of ['f', 'd', 'd/g']) {
      const ours = xattrOnDisk(join(upper, path), 'trusted.overlay.origin')
      t.ok(ours && ours.length > 21, path)
      t.equal(ours, xattrOnDisk(join(dir, 'u', path), 'trusted.overlay.origin'), path)
    }
  })
})

t.test('overlay.impure marks an upper directory that holds copied-up or moved-in objects, and no other', async (t) => {
  await withOverlay(t, [{ 'a/f': 'x', 'b/g': 'y', 'c/h': 'z' }], async ({ overlay, upper }) => {
    const impure = (path: string) => xattrOnDisk(join(upper, path), `${PREFIX}impure`)
    await put(overlay, 'a/f', 'copied')
    await overlay.create(ROOT, await at(overlay, 'b'), 'own', { mode: 0o644 })
    const fresh = await overlay.mkdir(ROOT, overlay.root, 'fresh', { mode: 0o755 })
    t.equal(impure('a'), 'y', 'copied up into')
    t.equal(impure('b'), undefined, 'only new objects')
    t.equal(impure('fresh'), undefined)
    await overlay.rename(ROOT, await at(overlay, 'c'), 'h', fresh, 'h')
    t.equal(impure('fresh'), 'y', 'moved into')
  })
})

t.test('overlay.redirect is the old name, or an absolute path from the overlay root', async (t) => {
  await withOverlay(t, [{ 'p/d/f': 'x', 'q/': '' }], async ({ overlay, upper }) => {
    const redirect = (path: string) => xattrOnDisk(join(upper, path), `${PREFIX}redirect`)
    const [p, q] = [await at(overlay, 'p'), await at(overlay, 'q')]
    await overlay.rename(ROOT, p, 'd', p, 'e')
    t.equal(redirect('p/e'), 'd')
    await overlay.rename(ROOT, p, 'e', q, 'f')
    t.equal(redirect('q/f'), '/p/d')
    t.equal(await text(overlay, 'q/f/f'), 'x')
  })
})

t.test(
  'a redirect is at most 256 bytes, so a deeper directory cannot be moved, as in the kernel',
  { skip },
  async (t) => {
    const long = 'n'.repeat(120)
    for (const [tail, answer] of [
      ['t'.repeat(13), 'none'],
      ['t'.repeat(14), 'EXDEV'],
    ] as const) {
      const path = `${long}/${long}/${tail}`
      const limit = `/${path}`.length
      await withOverlay(t, [{ [`${path}/f`]: 'x' }], async ({ overlay, upper, dir, lowers }) => {
        const parent = await at(overlay, `${long}/${long}`)
        t.equal(
          await errnoOf(() => overlay.rename(ROOT, parent, tail, overlay.root, 'moved')),
          answer,
          `${limit} bytes`,
        )
        if (answer === 'none') t.equal(xattrOnDisk(join(upper, 'moved'), 'trusted.overlay.redirect')?.length, limit)
        for (const name of ['u', 'w', 'm']) mkdirSync(join(dir, name))
        const options = `lowerdir=${lowers[0]},upperdir=${dir}/u,workdir=${dir}/w,redirect_dir=on`
        await kernelOverlay(join(dir, 'm'), options, () => {
          const program =
            'import os,sys\ntry: os.rename(sys.argv[1],sys.argv[2]); print("none")\nexcept OSError as e: print(__import__("errno").errorcode[e.errno])'
          const kernel = execFileSync('python3', ['-c', program, join(dir, 'm', path), join(dir, 'm/moved')])
          t.equal(kernel.toString().trim(), answer, 'the kernel')
        })
      })
    }
  },
)

t.test('nothing private is visible in the tree: no auxiliary names, no extra attributes', async (t) => {
  await withOverlay(t, [{ 'd/f': 'x', gone: 'y', 'm/g': 'z' }], async ({ overlay, upper }) => {
    await put(overlay, 'd/f', 'changed')
    await overlay.unlink(ROOT, overlay.root, 'gone')
    await overlay.rename(ROOT, overlay.root, 'm', overlay.root, 'n')
    t.same(await list(overlay), ['d', 'n'])
    for (const path of ['/', 'd', 'd/f', 'n', 'n/g']) {
      const names = await overlay.listxattr(ROOT, await at(overlay, path))
      t.same(
        names.filter((name) => name.includes('overlay')),
        [],
        path,
      )
    }
    t.same(onDisk(upper).sort(), ['!gone', '!m', 'd/', 'n/'])
  })
})

t.test('temporary objects are made under the workdir only', async (t) => {
  await withOverlay(t, [{ f: 'x'.repeat(100_000) }], async ({ overlay, upper, work }) => {
    const staged = await overlay.stage(ROOT)
    await staged.append([Buffer.from('half')])
    t.same(readdirSync(upper), [])
    t.equal(readdirSync(join(work, 'work')).length, 1)
    await staged.discard()
  })
})

t.test('copy-up leaves the times of the parent directory as they were', async (t) => {
  await withOverlay(t, [{ 'd/f': 'x', 'd/e/g': 'y' }], async ({ overlay, upper, lowers }) => {
    const dir: Inode = await at(overlay, 'd')
    const before = await overlay.getattr(dir)
    await put(overlay, 'd/f', 'changed')
    await put(overlay, 'd/e/g', 'changed')
    const after = await overlay.getattr(dir)
    t.same([after.mtime, after.atime], [before.mtime, before.atime])
    for (const path of ['d', 'd/e']) {
      t.equal(statSync(join(upper, path)).mtimeMs, statSync(join(lowers[0] as string, path)).mtimeMs, path)
    }
  })
})

t.test(
  'a client’s own overlay.* attributes are kept as overlay.overlay.* and shown back, as in the kernel',
  { skip },
  async (t) => {
    const own = {
      'trusted.overlay.opaque': 'y',
      'trusted.overlay.redirect': '/etc',
      'trusted.overlay.overlay.deep': '2',
    }
    await withOverlay(t, [{ 'd/f': 'x', 'd/g': 'y' }], async (fixture) => {
      const { overlay, upper, work, dir, lowers } = fixture
      for (const [name, value] of Object.entries(own))
        await overlay.setxattr(ROOT, await at(overlay, 'd'), name, Buffer.from(value))
      const shown = async (over: Overlay) => [
        (await over.listxattr(ROOT, await at(over, 'd'))).sort(),
        await list(over, 'd'),
      ]
      const view = [Object.keys(own).sort(), ['f', 'g']]
      t.same(await shown(overlay), view)
      const stored = (path: string) =>
        execFileSync('getfattr', ['-d', '-m', 'overlay.overlay', '--absolute-names', path])
          .toString()
          .split('\n')
          .slice(1)
      for (const name of ['u', 'w', 'm']) mkdirSync(join(dir, name))
      const merged = join(dir, 'm')
      const kernelShows = () => [
        Object.keys(own)
          .filter((name) => xattrOnDisk(join(merged, 'd'), name) === own[name as keyof typeof own])
          .sort(),
        readdirSync(join(merged, 'd')).sort(),
      ]
      await kernelOverlay(merged, `lowerdir=${lowers[0]},upperdir=${dir}/u,workdir=${dir}/w`, () => {
        for (const [name, value] of Object.entries(own))
          execFileSync('setfattr', ['-n', name, '-v', value, join(merged, 'd')])
        t.same(kernelShows(), view)
      })
      t.same(stored(join(upper, 'd')), stored(join(dir, 'u/d')), 'stored alike')
      t.equal(stored(join(upper, 'd')).filter((line) => line !== '').length, 3)
      await overlay.unmount()
      await kernelOverlay(merged, `lowerdir=${lowers[0]},upperdir=${upper},workdir=${work}`, () =>
        t.same(kernelShows(), view, 'the kernel shows ours'),
      )
      t.same(
        await shown(await fixture.open(`lowerdir=${lowers[0]},upperdir=${dir}/u,workdir=${dir}/w`)),
        view,
        'and we the kernel’s',
      )
    })
  },
)

t.test(
  'the kernel mounts an upper that overlayd wrote, marks of every kind, and sees the same tree',
  { skip },
  async (t) => {
    const lower = {
      'd/f': 'x',
      'd/g': 'y',
      gone: 'z',
      'm/h': 'h',
      'o/old': 'o',
      one: 'linked',
      two: '= one',
      s: '-> d/f',
    }
    await withOverlay(t, [lower], async (fixture) => {
      const { overlay, dir, lowers, upper, work } = fixture
      await put(overlay, 'd/f', 'changed')
      await put(overlay, 'two', 'LINKED')
      await overlay.unlink(ROOT, overlay.root, 'gone')
      await overlay.rename(ROOT, overlay.root, 'm', await at(overlay, 'd'), 'moved')
      await overlay.unlink(ROOT, await at(overlay, 'o'), 'old')
      await overlay.rmdir(ROOT, overlay.root, 'o')
      await overlay.mkdir(ROOT, overlay.root, 'o', { mode: 0o750 })
      await overlay.create(ROOT, await at(overlay, 'o'), 'new', { mode: 0o600 })
      await overlay.unmount()
      mkdirSync(join(dir, 'merged'))
      const options = `lowerdir=${lowers[0]},upperdir=${upper},workdir=${work},redirect_dir=on,index=on`
      const picture = await kernelOverlay(join(dir, 'merged'), options, () =>
        execFileSync('find', ['.', '-type', 'f', '-printf', '%P %m %n ', '-exec', 'cat', '{}', ';', '-printf', '\\n'], {
          cwd: join(dir, 'merged'),
        })
          .toString()
          .trim()
          .split('\n')
          .sort(),
      )
      const ours: string[] = []
      const again = await fixture.remount()
      for (const path of ['d/f', 'd/g', 'd/moved/h', 'o/new', 'one', 'two']) {
        const { mode, nlink } = await again.getattr(await at(again, path))
        ours.push(`${path} ${mode.toString(8)} ${nlink} ${await text(again, path)}`)
      }
      t.same(ours, picture)
      t.same(ours.slice(-2), ['one 644 2 LINKED', 'two 644 2 LINKED'])
    })
  },
)
