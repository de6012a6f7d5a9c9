import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { kernelOverlay } from '../helpers/kernel-mount.ts'
import { at, build, errnoOf, list, put, ROOT, text, xattrOnDisk } from '../helpers/overlay.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

/** Runs `test` with a folder, and ends every overlay that it opened there. */
async function inFolder(
  test: (dir: string, open: (options: string) => Promise<Overlay>) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-nested-'))
  const opened: Overlay[] = []
  try {
    await test(dir, async (options) => {
      const overlay = await mount(parseOptions(options, { cwd: dir, privileged: true }))
      opened.push(overlay)
      return overlay
    })
  } finally {
    for (const overlay of opened) await overlay.unmount()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Everything in an overlay: paths with their content, directories with a slash. */
async function contents(overlay: Overlay, path = ''): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const name of await list(overlay, path)) {
    const inside = `${path}${name}`
    if ((await at(overlay, inside)).type === 0o040000)
      Object.assign(found, { [`${inside}/`]: '' }, await contents(overlay, `${inside}/`))
    else found[inside] = await text(overlay, inside)
  }
  return found
}

/** The same of a folder. */
function contentsOf(dir: string, path = ''): Record<string, string> {
  const found: Record<string, string> = {}
  for (const entry of readdirSync(join(dir, path), { withFileTypes: true })) {
    const inside = `${path}${entry.name}`
    if (entry.isDirectory()) Object.assign(found, { [`${inside}/`]: '' }, contentsOf(dir, `${inside}/`))
    else found[inside] = readFileSync(join(dir, inside), 'latin1')
  }
  return found
}

t.test(
  'a lower that is a kernel overlay shows its merged tree, and so does the kernel over our upper',
  { skip },
  async (t) => {
    await inFolder(async (dir, open) => {
      build(join(dir, 'base'), { 'd/a': 'base', 'd/b': 'base', gone: 'x', 'moved/f': 'f' })
      for (const name of ['u1', 'w1', 'u2', 'w2', 'inner', 'outer']) mkdirSync(join(dir, name))
      const inner = join(dir, 'inner')
      await kernelOverlay(
        inner,
        `lowerdir=${dir}/base,upperdir=${dir}/u1,workdir=${dir}/w1,redirect_dir=on`,
        async () => {
          rmSync(join(inner, 'gone'))
          writeFileSync(join(inner, 'd/a'), 'changed')
          execFileSync('mv', [join(inner, 'moved'), join(inner, 'elsewhere')])
          const ours = await open('lowerdir=inner,upperdir=u2,workdir=w2')
          t.same(await contents(ours), {
            'd/': '',
            'd/a': 'changed',
            'd/b': 'base',
            'elsewhere/': '',
            'elsewhere/f': 'f',
          })
          await put(ours, 'd/b', 'ours')
          await ours.unlink(ROOT, await at(ours, 'd'), 'a')
          await ours.rename(ROOT, ours.root, 'elsewhere', ours.root, 'third')
          const seen = await contents(ours)
          await ours.unmount()
          await kernelOverlay(
            join(dir, 'outer'),
            `lowerdir=${inner},upperdir=${dir}/u2,workdir=${dir}/w2,redirect_dir=on,index=on`,
            () => t.same(contentsOf(join(dir, 'outer')), seen),
          )
          t.same(contentsOf(inner), { 'd/': '', 'd/a': 'changed', 'd/b': 'base', 'elsewhere/': '', 'elsewhere/f': 'f' })
        },
      )
    })
  },
)

t.test(
  'an upper on a kernel overlay works, although the kernel refuses it, and can be mounted again',
  { skip },
  async (t) => {
    await inFolder(async (dir, open) => {
      build(join(dir, 'base'), { 'd/a': 'base', 'd/b': 'base', gone: 'x' })
      for (const name of ['u1', 'w1', 'host', 'none']) mkdirSync(join(dir, name))
      mkdirSync(join(dir, 'none/x'), { recursive: true })
      const host = join(dir, 'host')
      await kernelOverlay(host, `lowerdir=${dir}/none,upperdir=${dir}/u1,workdir=${dir}/w1`, async () => {
        for (const name of ['upper', 'work']) mkdirSync(join(host, name))
        const options = 'lowerdir=base,upperdir=host/upper,workdir=host/work'
        const overlay = await open(options)
        await put(overlay, 'd/a', 'ours')
        await overlay.unlink(ROOT, overlay.root, 'gone')
        await overlay.rename(ROOT, overlay.root, 'd', overlay.root, 'e')
        await overlay.mkdir(ROOT, overlay.root, 'd', { mode: 0o755 })
        await overlay.setxattr(ROOT, await at(overlay, 'e/a'), 'trusted.overlay.mine', Buffer.from('1'))
        const seen = await contents(overlay)
        t.same(seen, { 'd/': '', 'e/': '', 'e/a': 'ours', 'e/b': 'base' })
        await overlay.unmount()
        const again = await open(options)
        t.same(await contents(again), seen)
        t.same(await again.listxattr(ROOT, await at(again, 'e/a')), ['trusted.overlay.mine'])
        await again.unmount()
        t.match(
          execFileSync('getfattr', ['-R', '-d', '-m', 'overlay', join(dir, 'u1/upper')]).toString(),
          /trusted\.overlay\.overlay\.redirect/,
          'the host keeps our marks escaped',
        )
      })
    })
  },
)

t.test('what overlayd wrote is a lower like any other, for overlayd and for the kernel', { skip }, async (t) => {
  await inFolder(async (dir, open) => {
    build(join(dir, 'base'), { 'd/a': 'base', 'd/b': 'base', gone: 'x', 'o/old': 'x', 'm/f': 'f' })
    for (const name of ['u1', 'w1', 'u2', 'w2', 'kernel']) mkdirSync(join(dir, name))
    const first = await open('lowerdir=base,upperdir=u1,workdir=w1')
    await put(first, 'd/a', 'first')
    await first.unlink(ROOT, first.root, 'gone')
    await first.unlink(ROOT, await at(first, 'o'), 'old')
    await first.rmdir(ROOT, first.root, 'o')
    await first.mkdir(ROOT, first.root, 'o', { mode: 0o755 })
    await first.rename(ROOT, first.root, 'm', await at(first, 'd'), 'n')
    const seen = await contents(first)
    await first.unmount()
    const second = await open('lowerdir=u1:base,upperdir=u2,workdir=w2')
    t.same(await contents(second), seen)
    await put(second, 'd/n/f', 'second')
    const changed = await contents(second)
    await second.unmount()
    await kernelOverlay(
      join(dir, 'kernel'),
      `lowerdir=${dir}/u1:${dir}/base,upperdir=${dir}/u2,workdir=${dir}/w2,redirect_dir=on,index=on`,
      () => t.same(contentsOf(join(dir, 'kernel')), changed),
    )
  })
})

t.test("a client's own overlay attributes are escaped once at every level, as by the kernel", { skip }, async (t) => {
  await inFolder(async (dir, open) => {
    build(join(dir, 'base'), { f: 'x' })
    for (const name of ['u1', 'w1', 'kernel']) mkdirSync(join(dir, name))
    const overlay = await open('lowerdir=base,upperdir=u1,workdir=w1')
    const f = await at(overlay, 'f')
    const names = [
      'trusted.overlay.opaque',
      'trusted.overlay.overlay.opaque',
      'trusted.overlay.overlay.overlay.redirect',
    ]
    for (const name of names) await overlay.setxattr(ROOT, f, name, Buffer.from(name))
    t.same((await overlay.listxattr(ROOT, f)).sort(), [...names].sort())
    for (const name of names) {
      t.equal(Buffer.from((await overlay.getxattr(ROOT, f, name)) ?? '').toString(), name)
      const stored = name.replace('trusted.overlay.', 'trusted.overlay.overlay.')
      t.equal(xattrOnDisk(join(dir, 'u1/f'), stored), name, stored)
    }
    await overlay.removexattr(ROOT, f, names[0] as string)
    await overlay.unmount()
    await kernelOverlay(join(dir, 'kernel'), `lowerdir=${dir}/base,upperdir=${dir}/u1,workdir=${dir}/w1`, () => {
      for (const name of names.slice(1)) t.equal(xattrOnDisk(join(dir, 'kernel/f'), name), name, 'through the kernel')
      t.equal(xattrOnDisk(join(dir, 'kernel/f'), names[0] as string), undefined)
      execFileSync('setfattr', ['-n', 'trusted.overlay.whiteout', '-v', 'k', join(dir, 'kernel/f')])
    })
    const again = await open('lowerdir=base,upperdir=u1,workdir=w1')
    const value = await again.getxattr(ROOT, await at(again, 'f'), 'trusted.overlay.whiteout')
    t.equal(Buffer.from(value ?? '').toString(), 'k', 'what the kernel escaped is shown by overlayd')
  })
})

t.test(
  'whiteouts in attribute form in a nested overlay hide names one level up, as in the kernel',
  { skip },
  async (t) => {
    await inFolder(async (dir, open) => {
      // A layer for an overlay inside an overlay: its marks are escaped once.
      build(join(dir, 'image'), { 'd/gone': '', 'd/here': 'h' })
      build(join(dir, 'below'), { 'd/gone': 'below', 'd/kept': 'k' })
      execFileSync('setfattr', ['-n', 'trusted.overlay.overlay.opaque', '-v', 'x', join(dir, 'image/d')])
      execFileSync('setfattr', ['-n', 'trusted.overlay.overlay.whiteout', '-v', 'y', join(dir, 'image/d/gone')])
      for (const name of ['outer', 'inner', 'none', 'u', 'w']) mkdirSync(join(dir, name))
      const outer = join(dir, 'outer')
      await kernelOverlay(outer, `lowerdir=${dir}/image:${dir}/none`, async () => {
        t.equal(xattrOnDisk(join(outer, 'd/gone'), 'trusted.overlay.whiteout'), 'y', 'unescaped one level up')
        const overlay = await open('lowerdir=outer:below,upperdir=u,workdir=w')
        t.same(await list(overlay, 'd'), ['here', 'kept'])
        t.equal(await errnoOf(() => at(overlay, 'd/gone')), 'ENOENT')
        await overlay.unmount()
        await kernelOverlay(join(dir, 'inner'), `lowerdir=${outer}:${dir}/below`, () => {
          t.same(readdirSync(join(dir, 'inner/d')).sort(), ['here', 'kept'])
        })
      })
      const raw = await open('lowerdir=image:below')
      t.same(await list(raw, 'd'), ['gone', 'here', 'kept'], 'at the level where they are escaped they mean nothing')
    })
  },
)

t.test('whiteouts in attribute form work in the lowest layer too', { skip }, async (t) => {
  await inFolder(async (dir, open) => {
    build(join(dir, 'only'), { 'd/gone': '', 'd/empty': '', 'd/full': 'x', 'plain/gone': '' })
    execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'x', join(dir, 'only/d')])
    for (const path of ['d/gone', 'd/full', 'plain/gone'])
      execFileSync('setfattr', ['-n', 'trusted.overlay.whiteout', '-v', 'y', join(dir, 'only', path)])
    mkdirSync(join(dir, 'none'))
    const overlay = await open('lowerdir=none:only')
    t.same(await list(overlay, 'd'), ['empty', 'full'])
    t.equal(await errnoOf(() => at(overlay, 'd/gone')), 'ENOENT')
    t.same(await list(overlay, 'plain'), ['gone'], 'a directory that does not say so holds none')
  })
})

t.test('mounts inside a lower are not visible, as in the kernel', { skip }, async (t) => {
  await inFolder(async (dir, open) => {
    build(join(dir, 'base'), { 'mnt/under': 'u', f: 'f' })
    for (const name of ['none', 'kernel']) mkdirSync(join(dir, name))
    execFileSync('mount', ['-t', 'tmpfs', 'none', join(dir, 'base/mnt')])
    try {
      writeFileSync(join(dir, 'base/mnt/over'), 'o')
      const overlay = await open('lowerdir=none:base')
      t.same(await contents(overlay), { f: 'f', 'mnt/': '', 'mnt/under': 'u' })
      await kernelOverlay(join(dir, 'kernel'), `lowerdir=${dir}/none:${dir}/base`, () => {
        t.same(contentsOf(join(dir, 'kernel')), { f: 'f', 'mnt/': '', 'mnt/under': 'u' })
      })
    } finally {
      execFileSync('umount', [join(dir, 'base/mnt')])
    }
  })
})
