import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { at, errnoOf, type Fixture, put, ROOT, text, withOverlay, xattrOnDisk } from '../helpers/overlay.ts'

const META = 'trusted.overlay.metacopy'
const on = { options: ',metacopy=on,index=on' }

/** Runs shell `script` in a kernel overlay of the fixture's layers, while the fixture's own is not mounted. */
function inKernel(fixture: Fixture, script: string, lowers = fixture.lowers.join(':')): string {
  const merged = join(fixture.dir, 'merged')
  mkdirSync(merged, { recursive: true })
  const options = `lowerdir=${lowers},upperdir=${fixture.upper},workdir=${fixture.work},metacopy=on,redirect_dir=on,index=on`
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged])
  try {
    return execFileSync('sh', ['-ec', script], { cwd: merged, encoding: 'latin1' })
  } finally {
    execFileSync('umount', [merged])
    rmSync(merged, { recursive: true })
  }
}

t.test('a change of attributes leaves the data in the lower, and the first write copies it up', async (t) => {
  await withOverlay(
    t,
    [{ 'd/file': 'lower data' }],
    async (fixture) => {
      const { overlay } = fixture
      const file = await at(overlay, 'd/file')
      const attr = await overlay.setattr(ROOT, file, { mode: 0o600 })
      t.same([attr.mode, attr.size], [0o600, 10])
      const disk = join(fixture.upper, 'd/file')
      t.equal(xattrOnDisk(disk, META), '')
      t.ok(statSync(disk).blocks <= 8, 'no data, at most a block of attributes')
      t.equal(await text(overlay, 'd/file'), 'lower data')
      await fixture.remount()
      t.equal(await text(fixture.overlay, 'd/file'), 'lower data', 'also after a remount')
      await put(fixture.overlay, 'd/file', 'UPPER')
      t.equal(await text(fixture.overlay, 'd/file'), 'UPPER data')
      t.equal(xattrOnDisk(disk, META), undefined)
      t.equal(readFileSync(disk, 'latin1'), 'UPPER data')
    },
    on,
  )
})

t.test(
  'a metadata-only hard link moved through its second name, or after a restart, still finds its data',
  async (t) => {
    await withOverlay(
      t,
      [{ 'd/file': 'some data', 'd/other': '= d/file', 'e/x': '' }],
      async (fixture) => {
        let { overlay } = fixture
        // A relative redirect would lead the other name, which is in another directory afterwards, nowhere.
        await overlay.rename(ROOT, await at(overlay, 'd'), 'other', await at(overlay, 'd'), 'near')
        t.equal(xattrOnDisk(join(fixture.upper, 'd/near'), 'trusted.overlay.redirect'), '/d/other')
        await overlay.rename(ROOT, await at(overlay, 'd'), 'file', await at(overlay, 'e'), 'far')
        await overlay.rename(ROOT, overlay.root, 'd', overlay.root, 'd2')
        overlay = await fixture.remount()
        await overlay.rename(ROOT, await at(overlay, 'd2'), 'near', overlay.root, 'moved')
        await overlay.unlink(ROOT, await at(overlay, 'e'), 'far')
        await overlay.rename(ROOT, overlay.root, 'moved', await at(overlay, 'e'), 'last')
        overlay = await fixture.remount()
        t.equal(await text(overlay, 'e/last'), 'some data')
        t.equal((await overlay.getattr(await at(overlay, 'e/last'))).nlink, 1)
        await overlay.unmount()
        t.equal(inKernel(fixture, 'cat e/last'), 'some data')
      },
      on,
    )
  },
)

t.test('a renamed and a linked metadata-only file find their data, here and in the kernel', async (t) => {
  await withOverlay(
    t,
    [{ 'd/file': 'some data', 'e/x': '' }],
    async (fixture) => {
      const { overlay } = fixture
      await overlay.rename(ROOT, await at(overlay, 'd'), 'file', await at(overlay, 'd'), 'near')
      await overlay.rename(ROOT, await at(overlay, 'd'), 'near', await at(overlay, 'e'), 'far')
      await overlay.link(ROOT, await at(overlay, 'e/far'), overlay.root, 'linked')
      t.equal(xattrOnDisk(join(fixture.upper, 'e/far'), 'trusted.overlay.redirect'), '/d/file')
      await overlay.rename(ROOT, overlay.root, 'd', overlay.root, 'd2')
      await overlay.unmount()
      t.equal(inKernel(fixture, 'cat e/far linked; ls d2'), 'some datasome data')
      const again = await fixture.remount()
      t.equal(await text(again, 'e/far'), 'some data')
      t.equal(await text(again, 'linked'), 'some data')
    },
    on,
  )
})

t.test('an upper that the kernel wrote with metacopy=on is read and completed', async (t) => {
  await withOverlay(
    t,
    [{ 'd/a': 'first', 'd/hard': 'links', other: '= d/hard' }],
    async (fixture) => {
      await fixture.overlay.unmount()
      inKernel(fixture, 'chmod 600 d/a; chown 5 d/hard; mv d/a moved; mv d d3')
      const overlay = await fixture.remount()
      t.equal(await text(overlay, 'moved'), 'first')
      t.equal((await overlay.getattr(await at(overlay, 'other'))).uid, 5)
      t.equal(await text(overlay, 'other'), 'links')
      await put(overlay, 'd3/hard', 'LINKS')
      t.equal(await text(overlay, 'other'), 'LINKS')
      await put(overlay, 'moved', 'F')
      await overlay.unmount()
      t.equal(inKernel(fixture, 'cat moved other d3/hard'), 'FirstLINKSLINKS')
      await fixture.remount()
    },
    on,
  )
})

t.test('with metacopy=off, a metadata-only file is refused, because its data must not be followed', async (t) => {
  await withOverlay(
    t,
    [{ file: 'data' }],
    async (fixture) => {
      await fixture.overlay.setattr(ROOT, await at(fixture.overlay, 'file'), { mode: 0o600 })
      const strict = await fixture.remount(',metacopy=off')
      t.equal(await errnoOf(() => at(strict, 'file')), 'EPERM')
    },
    on,
  )
})

t.test('data-only lowers are only reached by redirects', async (t) => {
  const prepare = (lowers: readonly string[]) => {
    const [meta] = lowers as [string]
    execFileSync('truncate', ['-s', '4', join(meta, 'shown')])
    execFileSync('setfattr', ['-n', META, join(meta, 'shown')])
    execFileSync('setfattr', ['-n', 'trusted.overlay.redirect', '-v', '/blobs/ab', join(meta, 'shown')])
    execFileSync('touch', ['-d', '@1000000000', join(meta, 'shown')])
  }
  await withOverlay(
    t,
    [{}, { 'blobs/ab': 'blob', hidden: 'x' }],
    async (fixture) => {
      await fixture.overlay.unmount()
      const [meta, data] = fixture.lowers as [string, string]
      const overlay = await fixture.open(
        `lowerdir=${meta}::${data},upperdir=${fixture.upper},workdir=${fixture.work},metacopy=on`,
      )
      t.equal(await text(overlay, 'shown'), 'blob')
      t.equal(await errnoOf(() => at(overlay, 'hidden')), 'ENOENT')
      await put(overlay, 'shown', 'B')
      t.equal(await text(overlay, 'shown'), 'Blob')
      await overlay.unmount()
      t.equal(inKernel(fixture, 'cat shown; ls', `${meta}::${data}`), 'Blobshown\n')
    },
    { prepare },
  )
})

t.test('a metadata-only copy without origin finds its data in a directory that is not impure', async (t) => {
  await withOverlay(
    t,
    [{ 'd/file': 'some data', 'd/other': '= d/file' }],
    async (fixture) => {
      const { overlay } = fixture
      const made = await overlay.mkdir(ROOT, overlay.root, 'made', { mode: 0o755 })
      await overlay.rename(ROOT, await at(overlay, 'd'), 'file', made, 'far')
      await overlay.unmount()
      // With index=off a hard link has no origin, and the kernel leaves the mark out.
      execFileSync('setfattr', ['-x', 'trusted.overlay.impure', join(fixture.upper, 'made')])
      t.equal(await text(await fixture.remount(), 'made/far'), 'some data')
    },
    { options: ',metacopy=on,index=off' },
  )
})

t.test(
  'an open metadata-only copy keeps its attributes when its name is removed, and the lower keeps its own',
  async (t) => {
    await withOverlay(
      t,
      [{ file: 'some data' }],
      async ({ overlay }) => {
        const file = await at(overlay, 'file')
        const handle = await overlay.open(ROOT, file, { read: true })
        await overlay.setattr(ROOT, file, { gid: 1234, mtime: { sec: 5, nsec: 6 } })
        await overlay.unlink(ROOT, overlay.root, 'file')
        const attr = await handle.getattr()
        t.same([attr.gid, attr.nlink, attr.mtime], [1234, 0, { sec: 5, nsec: 6 }])
        const buffer = Buffer.alloc(4)
        t.equal(await handle.read(buffer, 0, 4, 0), 4)
        t.equal(await errnoOf(() => overlay.setattr(ROOT, file, { mtime: 'now' })), 'ESTALE')
        handle.close()
      },
      on,
    )
  },
)

t.test('a metadata-only hard link is not moved if the redirect would be too long', async (t) => {
  const long = 'x'.repeat(255)
  await withOverlay(
    t,
    [{ [`${long}/file`]: 'some data', [`${long}/other`]: `= ${long}/file` }],
    async ({ overlay }) => {
      const dir = await at(overlay, long)
      t.equal(await errnoOf(() => overlay.rename(ROOT, dir, 'file', dir, 'near')), 'EXDEV')
      t.equal(await text(overlay, `${long}/file`), 'some data')
    },
    { options: ',metacopy=on,index=off' },
  )
})

t.test('an open file with attributes and data in two lowers keeps both when its name is removed', async (t) => {
  const prepare = (lowers: readonly string[]) => {
    const [meta] = lowers as [string]
    execFileSync('truncate', ['-s', '9', join(meta, 'file')])
    execFileSync('setfattr', ['-n', META, join(meta, 'file')])
    execFileSync('touch', ['-d', '@1000000000', join(meta, 'file')])
  }
  await withOverlay(
    t,
    [{ file: { mode: 0o640 } }, { file: 'some data' }],
    async ({ overlay }) => {
      const handle = await overlay.open(ROOT, await at(overlay, 'file'), { read: true })
      await overlay.unlink(ROOT, overlay.root, 'file')
      const { mode, nlink, size } = await handle.getattr()
      t.same([mode, nlink, size], [0o640, 0, 9])
      const buffer = Buffer.alloc(9)
      t.equal(await handle.read(buffer, 0, 9, 0), 9)
      t.equal(buffer.toString(), 'some data')
      handle.close()
    },
    { ...on, prepare },
  )
})
