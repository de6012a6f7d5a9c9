import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mount, OptionError, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { ACL_ACCESS, ACL_DEFAULT, encodeAcl } from '../../../overlay-core/layer/acl.ts'
import { at, build, errnoOf, list, onDisk, put, ROOT, snapshot, type Tree, text } from '../../helpers/overlay.ts'
import { tmpfs } from '../../helpers/tmpfs.ts'

const needsRoot = process.getuid?.() === 0 ? false : 'needs root'

interface Stack {
  readonly dir: string
  readonly upper: string
  readonly overlay: Overlay
  /** The folder of a layer by its name. */
  layer(name: string): string
  /** Remounts with an option string as `overlayd remount -o` takes it; names of layers stand for their folders in `@name`. */
  remount(options: string): Promise<void>
}

/** Mounts the layer `a` of `layers` below an upper (unless `readOnly`); at the end no layer but the upper has changed. */
async function withStack(
  t: Test,
  layers: Readonly<Record<string, Tree>>,
  test: (stack: Stack) => Promise<void>,
  { options = 'lowerdir=@a', readOnly = false } = {},
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-remount-'))
  const layer = (name: string) => join(dir, name)
  const folders = (text: string) => text.replaceAll(/@(\w+)/g, (_, name) => layer(name))
  let overlay: Overlay | undefined
  try {
    for (const [name, tree] of Object.entries(layers)) build(layer(name), tree)
    const before = Object.keys(layers).map((name) => snapshot(layer(name)))
    for (const name of ['upper', 'work']) mkdirSync(layer(name))
    const writable = readOnly ? '' : ',upperdir=@upper,workdir=@work'
    const mounted = await mount(parseOptions(folders(options + writable)))
    overlay = mounted
    await test({
      dir,
      upper: layer('upper'),
      overlay: mounted,
      layer,
      remount: async (change) => await mounted.remount(parseOptions(folders(change), undefined, mounted.options)),
    })
    await mounted.unmount()
    overlay = undefined
    t.same(
      Object.keys(layers).map((name) => snapshot(layer(name))),
      before,
      'the lowers are unchanged',
    )
    if (!readOnly) t.same(readdirSync(join(dir, 'work/work')), [], 'nothing is left in the work directory')
  } finally {
    await overlay?.unmount()
    rmSync(dir, { recursive: true, force: true })
  }
}

t.test('remount swaps a lower in one step: its names, content and absences are visible at once', async (t) => {
  const layers = {
    a: { same: '1', 'd/old': 'x', 'd/deep/f': 'a', gone: 'x', kind: 'file' },
    b: { same: '2!', 'd/new': 'y', 'd/deep/f': 'b', come: 'z', 'kind/': '' },
  }
  await withStack(t, layers, async ({ overlay, remount }) => {
    t.equal(await errnoOf(() => at(overlay, 'come')), 'ENOENT', 'a remembered absence')
    t.same(await list(overlay), ['d', 'gone', 'kind', 'same'])
    t.same(await list(overlay, 'd'), ['deep', 'old'])
    for (const path of ['same', 'd/old', 'd/deep/f', 'gone', 'kind']) await text(overlay, path)
    await remount('lowerdir=@b')
    t.same(await list(overlay), ['come', 'd', 'kind', 'same'])
    t.same(await list(overlay, 'd'), ['deep', 'new'])
    t.equal(await text(overlay, 'same'), '2!')
    t.equal(await text(overlay, 'd/deep/f'), 'b')
    t.equal(await text(overlay, 'come'), 'z')
    t.equal(await errnoOf(() => at(overlay, 'gone')), 'ENOENT')
    t.equal((await at(overlay, 'kind')).type, 0o040000)
  })
})

t.test('handles of objects that still exist stay valid, and others are ESTALE', async (t) => {
  const layers = { a: { f: 'a', 'd/x': 'a', 'd/only': 'a' }, b: { f: 'b', 'd/x': 'b' }, c: { 'sub/g': 'c', f: 'c' } }
  await withStack(
    t,
    layers,
    async ({ overlay, remount }) => {
      const kept = new Map<string, [number, number]>()
      await put(overlay, 'd/x', 'changed')
      await overlay.create(ROOT, overlay.root, 'own', { mode: 0o644 })
      for (const path of ['f', 'd', 'd/x', 'd/only', 'sub', 'sub/g', 'own']) {
        const inode = await at(overlay, path)
        overlay.retain(inode)
        kept.set(path, [inode.key, inode.generation])
      }
      const tokens = new Map<string, Awaited<ReturnType<typeof at>>>()
      for (const path of kept.keys()) tokens.set(path, await at(overlay, path))
      await remount('lowerdir=@b:@c')
      for (const path of ['sub', 'sub/g', 'own']) {
        const [key, generation] = kept.get(path) as [number, number]
        const token = tokens.get(path) as Awaited<ReturnType<typeof at>>
        t.equal(await overlay.inodeByKey(key, generation), token, `${path} is the same object`)
        t.equal(await at(overlay, path), token)
        t.equal((await overlay.getattr(token)).type, token.type)
      }
      for (const path of ['f', 'd/only']) {
        const [key, generation] = kept.get(path) as [number, number]
        t.equal(await errnoOf(() => overlay.inodeByKey(key, generation)), 'ESTALE', path)
        t.equal(await errnoOf(() => overlay.getattr(tokens.get(path) as never)), 'ESTALE', path)
      }
      t.equal(await text(overlay, 'd/x'), 'changed', 'what the upper has stays')
      t.equal(await errnoOf(() => overlay.getattr(overlay.root)), 'none', 'clients keep their mounts')
    },
    { options: 'lowerdir=@a:@c' },
  )
})

t.test('a layer added on top hides names, one added below adds names, and a removed one is gone', async (t) => {
  await withStack(t, { a: { f: 'a', g: 'a' }, top: { f: 'top' }, below: { g: 'below', h: 'below' } }, async (stack) => {
    const { overlay, remount } = stack
    const g = await at(overlay, 'g')
    await remount('lowerdir=@top:@a')
    t.equal(await text(overlay, 'f'), 'top')
    t.equal(await at(overlay, 'g'), g, 'an object of a layer that stays is the same one')
    await remount('lowerdir+=@below')
    t.equal(await text(overlay, 'h'), 'below')
    t.equal(await text(overlay, 'g'), 'a')
    t.equal(await at(overlay, 'g'), g)
    await remount('lowerdir=@a')
    t.same(await list(overlay), ['f', 'g'])
    t.equal(await at(overlay, 'g'), g)
    t.same(overlay.options.lowerdir, [stack.layer('a')])
  })
})

t.test('ACLs of the root apply after a remount as before', { skip: needsRoot }, async (t) => {
  await withStack(t, { a: { f: 'a' }, b: { f: 'b' } }, async ({ overlay, remount, upper }) => {
    const { root } = overlay
    const none = 0xffffffff
    const entries = [
      { tag: 1, perm: 7, id: none },
      { tag: 2, perm: 7, id: 1001 },
      { tag: 4, perm: 5, id: none },
      { tag: 16, perm: 7, id: none },
      { tag: 32, perm: 0, id: none },
    ]
    for (const name of [ACL_ACCESS, ACL_DEFAULT]) await overlay.setxattr(ROOT, root, name, encodeAcl(entries))
    const named = { uid: 1001, gid: 1001, groups: [] }
    for (const layers of ['lowerdir=@b', 'lowerdir=@a', 'lowerdir=@a:@b']) {
      await remount(layers)
      t.equal(await overlay.access(named, root, 7), 7, layers)
      const name = layers.replaceAll(/\W/g, '')
      const made = await overlay.create(named, root, name, { mode: 0o660 })
      t.ok(await overlay.getxattr(ROOT, made, ACL_ACCESS), `${layers}: inherited`)
      t.match(execFileSync('getfacl', ['-n', '-p', join(upper, name)]).toString(), /user:1001:rwx/)
    }
  })
})

t.test('a file open on a removed layer can be read to its end', async (t) => {
  await withStack(t, { a: { f: 'the old text' }, b: { f: 'new' } }, async ({ overlay, remount, layer }) => {
    const file = await overlay.open(ROOT, await at(overlay, 'f'), { read: true })
    await remount('lowerdir=@b')
    const buffer = Buffer.alloc(20)
    t.equal(buffer.toString('latin1', 0, await file.read(buffer, 0, 20, 0)), 'the old text')
    t.equal((await file.getattr()).size, 12)
    t.equal(await errnoOf(() => overlay.setattr(ROOT, file.inode, { mode: 0o600 })), 'ESTALE', 'but never changed')
    t.equal(await errnoOf(() => overlay.setxattr(ROOT, file.inode, 'user.x', Buffer.from('1'))), 'ESTALE')
    file.close()
    t.equal(await text(overlay, 'f'), 'new')
    t.ok(existsSync(join(layer('a'), 'f')))
  })
})

t.test('a file open in the upper stays writable, and one open for reading follows a later copy-up', async (t) => {
  await withStack(t, { a: { f: 'a', own: 'a' }, b: { other: 'b' } }, async ({ overlay, upper, remount }) => {
    const writer = await overlay.open(ROOT, await at(overlay, 'own'), { read: true, write: true })
    const reader = await overlay.open(ROOT, await at(overlay, 'f'), { read: true })
    await remount('lowerdir=@b:@a')
    await writer.write(Buffer.from('written'), 0)
    t.equal(await text(overlay, 'own'), 'written')
    await put(overlay, 'f', 'A')
    const buffer = Buffer.alloc(4)
    t.equal(buffer.toString('latin1', 0, await reader.read(buffer, 0, 4, 0)), 'A')
    writer.close()
    reader.close()
    t.same(onDisk(upper), ['f', 'own'])
  })
})

t.test('after a failed remount the old stack stays in use', async (t) => {
  await withStack(t, { a: { f: 'a' }, b: { f: 'b' } }, async ({ overlay, remount, dir }) => {
    const inode = await at(overlay, 'f')
    const cases: [string, string][] = [
      ['lowerdir=@missing', 'lowerdir'],
      ['lowerdir=@a/f', 'lowerdir'],
      ['lowerdir=@b:@b', 'lowerdir'],
      ['lowerdir=@upper', 'lowerdir'],
      ['lowerdir=@b,upperdir=@a', 'upperdir'],
      ['workdir=@other', 'workdir'],
      ['userxattr', 'userxattr'],
      ['uuid=null', 'uuid'],
      ['whiteouts=files', 'whiteouts'],
      ['redirect_dir=off,metacopy=on', 'metacopy'],
    ]
    const descriptors = () => readdirSync('/proc/self/fd').length
    await overlay.getattr(inode)
    const open = descriptors()
    for (const [options, option] of cases) {
      try {
        await remount(options)
        t.fail(`${options} was taken`)
      } catch (error) {
        t.type(error, OptionError, options)
        t.equal((error as OptionError).option, option, options)
      }
      t.equal(await text(overlay, 'f'), 'a', options)
      t.equal(await at(overlay, 'f'), inode, options)
    }
    t.ok(descriptors() <= open + 1, 'no descriptor is left open')
    t.same(overlay.options.lowerdir, [join(dir, 'a')])
  })
})

t.test('ro refuses all changes at once, and rw allows them again', async (t) => {
  await withStack(t, { a: { f: 'a' } }, async ({ overlay, upper, remount }) => {
    await put(overlay, 'f', 'b')
    const file = await overlay.open(ROOT, await at(overlay, 'f'), { write: true })
    const staged = await overlay.stage(ROOT)
    await remount('ro')
    t.equal(overlay.readOnly, true)
    t.equal(await errnoOf(() => put(overlay, 'f', 'c')), 'EROFS')
    t.equal(await errnoOf(() => overlay.mkdir(ROOT, overlay.root, 'd', { mode: 0o755 })), 'EROFS')
    t.equal(await errnoOf(() => overlay.unlink(ROOT, overlay.root, 'f')), 'EROFS')
    t.equal(await errnoOf(() => file.write(Buffer.from('x'), 0)), 'EROFS')
    t.equal(await errnoOf(() => staged.publish({ dir: overlay.root, name: 'new', mode: 0o644 })), 'EROFS')
    t.equal(await text(overlay, 'f'), 'b')
    file.close()
    await remount('rw')
    t.equal(overlay.readOnly, false)
    await put(overlay, 'f', 'd')
    t.same(onDisk(upper), ['f'])
  })
  await withStack(
    t,
    { a: { f: 'a' }, b: {} },
    async ({ remount, overlay }) => {
      t.equal(overlay.readOnly, true)
      await remount('ro')
      await t.rejects(remount('rw'), /^rw: there is no upper/)
    },
    { readOnly: true },
  )
})

t.test('options change with the stack: redirects, metadata-only copies, index, volatile', async (t) => {
  const layers = { a: { 'd/f': 'a', one: 'linked', two: '= one', big: 'data' } }
  await withStack(t, layers, async ({ overlay, upper, dir, remount }) => {
    await remount('redirect_dir=off')
    const { root } = overlay
    t.equal(await errnoOf(() => overlay.rename(ROOT, root, 'd', root, 'e')), 'EXDEV')
    await remount('redirect_dir=on,metacopy=on')
    await overlay.rename(ROOT, root, 'd', root, 'e')
    t.equal(await text(overlay, 'e/f'), 'a')
    await overlay.setattr(ROOT, await at(overlay, 'big'), { mode: 0o600 })
    t.equal(await text(overlay, 'big'), 'data')
    await remount('metacopy=off')
    t.equal(await errnoOf(() => at(overlay, 'big')), 'EPERM', 'as in the kernel')
    await remount('metacopy=on,index=off')
    const one = await at(overlay, 'one')
    t.not((await at(overlay, 'two')).key, one.key)
    await remount('index=on')
    await put(overlay, 'one', 'LINKED')
    t.equal(await text(overlay, 'two'), 'LINKED', 'hard links stay linked')
    t.same(onDisk(upper).sort(), ['!d', 'big', 'e/', 'one'])
    await remount('fsync=volatile')
    t.ok(existsSync(join(dir, 'work/work/incompat/volatile')))
    await t.rejects(remount('fsync=auto'), /^fsync: a remount cannot make a volatile overlay durable/)
    rmSync(join(dir, 'work/work/incompat'), { recursive: true })
  })
})

t.test('running calls end on the old stack while later ones wait for the new one', async (t) => {
  const layers: Record<string, Tree> = { a: {}, b: {} }
  for (const [name, tree] of Object.entries(layers)) {
    for (let i = 0; i < 40; i++) Object.assign(tree, { [`d${i % 4}/f${i}`]: name })
  }
  await withStack(t, layers, async ({ overlay, remount }) => {
    let stop = false
    const seen = new Set<string>()
    const worker = async (id: number) => {
      for (let i = 0; !stop; i++) {
        const n = (i * 7 + id) % 40
        seen.add(await text(overlay, `d${n % 4}/f${n}`))
        const name = `own${id}`
        const dir = await at(overlay, `d${n % 4}`)
        await overlay.create(ROOT, dir, name, { mode: 0o644 })
        t.ok((await list(overlay, `d${n % 4}`)).includes(name))
        await overlay.unlink(ROOT, await at(overlay, `d${n % 4}`), name)
      }
    }
    const retrying = async (id: number) => {
      while (!stop) {
        try {
          await worker(id)
        } catch (error) {
          // A directory that was looked up in one stack may be another object in the next.
          if ((error as { code?: string }).code !== 'ESTALE') throw error
          for (let i = 0; i < 4; i++) {
            const dir = await at(overlay, `d${i}`)
            await errnoOf(() => overlay.unlink(ROOT, dir, `own${id}`))
          }
        }
      }
    }
    const workers = Promise.all([0, 1, 2, 3, 4, 5].map(retrying))
    for (let i = 0; i < 30; i++) await remount(i % 2 === 0 ? 'lowerdir=@b' : 'lowerdir=@a')
    stop = true
    await workers
    t.same([...seen].sort(), ['a', 'b'])
    await remount('lowerdir=@b')
    for (let i = 0; i < 40; i++) t.equal(await text(overlay, `d${i % 4}/f${i}`), 'b')
  })
})

t.test('the file system of a removed layer can be unmounted at once', { skip: needsRoot }, async (t) => {
  const medium = tmpfs(t)
  build(medium, { 'd/f': 'x' })
  await withStack(t, { a: { g: 'y' } }, async ({ overlay, remount, layer }) => {
    await remount(`lowerdir=${medium}:${layer('a')}`)
    t.equal(await text(overlay, 'd/f'), 'x')
    t.same(await list(overlay, 'd'), ['f'])
    await remount('lowerdir=@a')
    // Descriptors are closed when the calls that ran are over, files by the pool.
    for (let i = 0; i < 200; i++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (!holds(medium)) break
    }
    execFileSync('umount', [medium])
    execFileSync('mount', ['-t', 'tmpfs', 'none', medium])
    t.equal(await text(overlay, 'g'), 'y')
  })
})

/** Whether this process has something open below `path`. */
function holds(path: string): boolean {
  const open = execFileSync('bash', ['-c', `readlink /proc/${process.pid}/fd/* || true`]).toString()
  return open.split('\n').some((target) => target.startsWith(path))
}

t.test('without an upper the layers can change too, and the root stays', async (t) => {
  await withStack(
    t,
    { a: { f: 'a' }, b: { f: 'b', g: 'b' } },
    async ({ overlay, remount }) => {
      const before = await overlay.getattr(overlay.root)
      await text(overlay, 'f')
      await remount('lowerdir=@b')
      t.equal(await text(overlay, 'f'), 'b')
      await remount('lowerdir=@b:@a')
      t.same(await list(overlay), ['f', 'g'])
      const after = await overlay.getattr(overlay.root)
      t.same([after.fileIdHi, after.fileIdLo], [before.fileIdHi, before.fileIdLo])
      t.equal(await overlay.inodeByKey(overlay.root.key, overlay.root.generation), overlay.root)
    },
    { readOnly: true },
  )
})

t.test('a remount does not abort a running copy-up', async (t) => {
  await withStack(t, { a: { big: 'x'.repeat(3_000_000) }, b: { other: 'b' } }, async (stack) => {
    const { overlay, upper, remount } = stack
    writeFileSync(join(stack.dir, 'marker'), '')
    const inode = await at(overlay, 'big')
    const writing = overlay.write(ROOT, inode, Buffer.from('y'), 0, 'unstable')
    await Promise.all([writing, remount('lowerdir=@b')])
    t.equal((await text(overlay, 'big')).slice(0, 3), 'yxx')
    t.same(onDisk(upper), ['big'])
  })
})
