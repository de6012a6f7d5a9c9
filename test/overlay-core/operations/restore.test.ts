import { linkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ALICE, at, errnoOf, list, onDisk, put, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

t.test('a restored file shows the lower again, as the same object as before', async (t) => {
  await withOverlay(t, [{ 'd/f': 'lower', 'd/other': 'x' }], async ({ overlay, upper, remount }) => {
    const dir = await at(overlay, 'd')
    const before = await overlay.getattr(await at(overlay, 'd/f'))
    await put(overlay, 'd/f', 'changed')
    t.equal(await overlay.provenance(ROOT, dir, 'f'), 'changed')
    const open = await overlay.open(ROOT, await at(overlay, 'd/f'), { read: true })
    const restored = await overlay.restore(ROOT, dir, 'f')
    t.equal(await text(overlay, 'd/f'), 'lower')
    t.same(await overlay.getattr(restored), before)
    t.equal(await overlay.provenance(ROOT, dir, 'f'), 'lower')
    const buffer = Buffer.alloc(7)
    await open.read(buffer, 0, 7, 0)
    t.equal(buffer.toString(), 'changed', 'who has the change open keeps it')
    open.close()
    t.same(onDisk(upper), ['d/'])
    t.same(onDisk(`${upper}/d`), [])
    t.same(await list(overlay, 'd'), ['f', 'other'])
    t.equal(await text(await remount(), 'd/f'), 'lower')
  })
})

t.test('a restored file can be changed again', async (t) => {
  await withOverlay(t, [{ f: 'lower' }], async ({ overlay }) => {
    for (const content of ['first', 'again']) {
      await put(overlay, 'f', content)
      t.equal(await text(overlay, 'f'), content)
      await overlay.restore(ROOT, overlay.root, 'f')
      t.equal(await text(overlay, 'f'), 'lower')
    }
  })
})

for (const form of ['', 'whiteouts=files']) {
  t.test(`a removed file or directory is restored${form && ` (${form})`}`, async (t) => {
    await withOverlay(
      t,
      [{ f: 'lower', 'd/in': 'below' }],
      async ({ overlay, upper }) => {
        await overlay.unlink(ROOT, overlay.root, 'f')
        await overlay.unlink(ROOT, await at(overlay, 'd'), 'in')
        await overlay.rmdir(ROOT, overlay.root, 'd')
        t.same(await list(overlay, ''), [])
        t.equal(await overlay.provenance(ROOT, overlay.root, 'f'), 'removed')
        t.same((await overlay.removedNames(ROOT, overlay.root)).sort(), ['d', 'f'])
        await overlay.restore(ROOT, overlay.root, 'f')
        await overlay.restore(ROOT, overlay.root, 'd')
        t.same(await list(overlay, ''), ['d', 'f'])
        t.same(await overlay.removedNames(ROOT, overlay.root), [])
        t.equal(await text(overlay, 'd/in'), 'below')
        t.same(
          onDisk(upper).filter((name) => name !== '.wh..wh.overlayd'),
          [],
        )
      },
      { options: form && `,${form}` },
    )
  })
}

t.test('names that no lower has, or that were not changed, cannot be restored', async (t) => {
  await withOverlay(t, [{ f: 'lower', 'd/in': 'x' }], async ({ overlay, upper }) => {
    await overlay.create(ROOT, overlay.root, 'new', { mode: 0o644 })
    const { root } = overlay
    t.equal(await overlay.provenance(ROOT, root, 'new'), 'upper')
    t.equal(await overlay.provenance(ROOT, root, 'nothing'), 'absent')
    t.equal(await errnoOf(() => overlay.restore(ROOT, root, 'new')), 'ENODATA')
    t.equal(await errnoOf(() => overlay.restore(ROOT, root, 'f')), 'ENODATA')
    t.equal(await errnoOf(() => overlay.restore(ROOT, root, 'nothing')), 'ENODATA')
    await put(overlay, 'd/in', 'changed')
    t.equal(await errnoOf(() => overlay.restore(ROOT, root, 'd')), 'EISDIR')
    t.equal(await text(overlay, 'd/in'), 'changed')
    t.same(onDisk(upper), ['d/', 'new'])
  })
})

t.test('restoring needs the same permission as removing, and is aborted by the check', async (t) => {
  await withOverlay(t, [{ f: 'lower' }], async ({ overlay }) => {
    await put(overlay, 'f', 'changed')
    t.equal(await errnoOf(() => overlay.restore(ALICE, overlay.root, 'f')), 'EACCES')
    const check = () => {
      throw new Error('locked')
    }
    await t.rejects(overlay.restore(ROOT, overlay.root, 'f', check), /locked/)
    t.equal(await text(overlay, 'f'), 'changed')
  })
})

t.test('nobody sees the name absent while it is restored', async (t) => {
  await withOverlay(t, [{ f: 'lower' }], async ({ overlay }) => {
    for (let round = 0; round < 20; round++) {
      await put(overlay, 'f', 'changed')
      let done = false
      const restoring = overlay.restore(ROOT, overlay.root, 'f').finally(() => {
        done = true
      })
      while (!done) {
        const seen = await overlay.lookup(ROOT, overlay.root, 'f')
        if (seen === undefined) t.fail('the name was absent')
        await new Promise(setImmediate)
      }
      await restoring
      t.same(await list(overlay, ''), ['f'])
    }
  })
})

t.test('a single name of a lower file with several names cannot be restored', async (t) => {
  await withOverlay(t, [{ a: 'linked', b: '= a' }], async ({ overlay }) => {
    await put(overlay, 'a', 'changed')
    const code = await errnoOf(() => overlay.restore(ROOT, overlay.root, 'a'))
    t.equal(code, 'EMLINK')
    t.same([await text(overlay, 'a'), await text(overlay, 'b')], ['changed', 'changed'])
  })
})

t.test('a file that was renamed and is restored at its old name is another object', async (t) => {
  await withOverlay(t, [{ f: 'lower', 'd/x': 'x' }], async (fixture) => {
    const { overlay } = fixture
    const moved = await at(overlay, 'f')
    await overlay.rename(ROOT, overlay.root, 'f', overlay.root, 'q')
    const write = async (name: string, data: string) =>
      await overlay.write(ROOT, await at(overlay, name), Buffer.from(data), 0, 'file')
    await write('q', 'UPPER')
    const restored = await overlay.restore(ROOT, overlay.root, 'f')
    t.not(restored, moved)
    t.equal(await at(overlay, 'q'), moved)
    t.equal(await text(overlay, 'f'), 'lower')
    t.equal(await text(overlay, 'q'), 'UPPER')
    const listed = new Map<string, number>()
    await overlay.readdir(ROOT, overlay.root, 0, ({ name, fileIdLo }) => listed.set(name, fileIdLo) !== undefined)
    for (const name of ['f', 'q']) t.equal(listed.get(name), (await overlay.getattr(await at(overlay, name))).fileIdLo)
    await write('f', 'other')
    t.equal(await text(overlay, 'q'), 'UPPER', 'and each is changed alone')
    const again = await fixture.remount()
    t.equal(await text(again, 'f'), 'other')
    t.equal(await text(again, 'q'), 'UPPER')
    t.equal((await at(again, 'f')).key, restored.key)
    t.equal((await at(again, 'q')).key, moved.key)
  })
})

for (const hidden of ['removed', 'replaced'] as const) {
  t.test(
    `a name of a changed hard link that was ${hidden} comes back, and the file stays until its last name goes`,
    async (t) => {
      const prepare = ([first]: readonly string[]) => linkSync(join(first as string, 'a'), join(first as string, 'b'))
      const settings = { options: ',index=on', prepare }
      await withOverlay(
        t,
        [{ a: 'linked' }],
        async ({ overlay, remount }) => {
          await put(overlay, 'a', 'changed')
          await overlay.unlink(ROOT, overlay.root, 'b')
          if (hidden === 'replaced') await overlay.create(ROOT, overlay.root, 'b', { mode: 0o644 })
          const restored = await overlay.restore(ROOT, overlay.root, 'b')
          t.equal((await overlay.getattr(restored)).nlink, 2)
          t.equal(await text(overlay, 'b'), 'changed', 'it is the same file')
          await overlay.unlink(ROOT, overlay.root, 'b')
          t.equal((await overlay.getattr(await at(overlay, 'a'))).nlink, 1)
          const later = await remount()
          t.equal(await text(later, 'a'), 'changed')
          t.equal((await later.getattr(await at(later, 'a'))).nlink, 1)
          await later.restore(ROOT, later.root, 'b')
          await later.unlink(ROOT, later.root, 'a')
          t.equal(await text(await remount(), 'b'), 'changed')
        },
        settings,
      )
    },
  )
}

for (const type of ['file', 'directory'] as const) {
  t.test(`a ${type} that is moved and restored several times is another object each time`, async (t) => {
    await withOverlay(t, [{ [type === 'file' ? 'd' : 'd/in']: 'x' }], async ({ overlay }) => {
      const { root } = overlay
      const moved = ['one', 'two', 'three']
      for (const name of moved) {
        if (type === 'directory') await overlay.unlink(ROOT, await at(overlay, 'd'), 'in')
        await overlay.rename(ROOT, root, 'd', root, name)
        await overlay.restore(ROOT, root, 'd')
        t.equal(await overlay.provenance(ROOT, root, 'd'), 'lower')
        if (type === 'directory') t.same(await list(overlay, 'd'), ['in'])
      }
      const keys = new Set<number>()
      for (const name of ['d', ...moved]) keys.add((await at(overlay, name)).key)
      t.equal(keys.size, 4)
    })
  })
}
