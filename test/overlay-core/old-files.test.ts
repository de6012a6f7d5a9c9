import { execFileSync } from 'node:child_process'
import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode, Overlay } from '../../overlay-core/index.ts'
import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import { toOldForm } from '../helpers/old-files.ts'
import { at, ROOT, withOverlay } from '../helpers/overlay.ts'

t.setTimeout(180_000)

/** What is kept in the workdir, without what the kernel's overlayfs knows. */
const kept = (work: string) => readdirSync(work).filter((name) => name !== 'work' && name !== 'index')

async function give(overlay: Overlay, path: string): Promise<Inode> {
  const inode = await at(overlay, path)
  overlay.retain(inode)
  await overlay.retained()
  return inode
}

async function finds(overlay: Overlay, { key, generation }: Inode, path: string): Promise<boolean> {
  return (await overlay.inodeByKey(key, generation)) === (await at(overlay, path))
}

t.test('handles and identities that an earlier version has noted are taken over, and its files go', async (t) => {
  await withOverlay(t, [{ f: 'x', 'd/g': 'y' }], async (fixture) => {
    const [f, g] = [await give(fixture.overlay, 'f'), await give(fixture.overlay, 'd/g')]
    await fixture.overlay.rename(ROOT, fixture.overlay.root, 'f', await at(fixture.overlay, 'd'), 'moved')
    await fixture.overlay.unmount()
    toOldForm(fixture.work)
    t.same(kept(fixture.work).sort(), ['handles', 'identity'])
    t.match(readFileSync(join(fixture.work, 'handles'), 'latin1'), /^OVLHND01/)
    appendFileSync(join(fixture.work, 'handles'), 'torn at the end')
    const overlay = await fixture.remount()
    t.ok(await finds(overlay, f, 'd/moved'))
    t.ok(await finds(overlay, g, 'd/g'))
    t.same(kept(fixture.work).sort(), ['handles.log', 'identity.log'])
    const again = await fixture.remount()
    t.ok(await finds(again, f, 'd/moved'))
  })
})

t.test('50,000 handles of an earlier version are taken over', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const f = await give(fixture.overlay, 'f')
    await fixture.overlay.unmount()
    toOldForm(fixture.work)
    const path = join(fixture.work, 'handles')
    const record = readFileSync(path).subarray(8)
    const many = Buffer.concat([readFileSync(path), ...Array.from({ length: 50_000 }, () => record)])
    writeFileSync(path, many)
    t.ok(statSync(path).size > 1_800_000)
    t.ok(await finds(await fixture.remount(), f, 'f'))
  })
})

t.test('whatever call fails while files are taken over, nothing is lost', async (t) => {
  let mounted = false
  for (let nth = 1; !mounted; nth++) {
    await withOverlay(t, [{ f: 'x' }], async (fixture) => {
      const f = await give(fixture.overlay, 'f')
      await fixture.overlay.unmount()
      toOldForm(fixture.work)
      let calls = 0
      let struck = false
      setFaultPoints({
        before: (op) => {
          if (!/^(pwrite|fsync|renameat2|unlinkat|ftruncate)$/.test(op) || ++calls !== nth) return 0
          struck = true
          return 5
        },
        after: () => undefined,
      })
      await fixture.remount().then(
        () => {
          mounted = !struck
        },
        () => undefined,
      )
      setFaultPoints(undefined)
      if (!(await finds(await fixture.remount(), f, 'f'))) t.fail(`call ${nth}: the handle is lost`)
      t.same(kept(fixture.work).sort(), ['handles.log', 'identity.log'], `call ${nth}`)
    })
  }
})

t.test('where a disk is full an earlier version’s files stay, and are read until there is room', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const f = await give(fixture.overlay, 'f')
    await fixture.overlay.unmount()
    toOldForm(fixture.work)
    setFaultPoints({ before: (op) => (/^(pwrite|ftruncate)$/.test(op) ? 28 : 0), after: () => undefined })
    t.teardown(() => setFaultPoints(undefined))
    const overlay = await fixture.remount().finally(() => setFaultPoints(undefined))
    t.ok(await finds(overlay, f, 'f'))
    t.ok(kept(fixture.work).includes('handles'))
    t.ok(await finds(await fixture.remount(), f, 'f'))
    t.same(kept(fixture.work).sort(), ['handles.log', 'identity.log'])
  })
})

t.test('the kernel mounts a workdir with these files, and an earlier version refuses it', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    await give(fixture.overlay, 'f')
    await fixture.overlay.unmount()
    const merged = t.testdir({})
    const options = `lowerdir=${fixture.lowers[0]},upperdir=${fixture.upper},workdir=${fixture.work},index=on`
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged])
    execFileSync('umount', [merged])
    // What earlier versions know; they name the first other one, and do nothing.
    const known = ['work', 'index', 'notes', 'uploads', 'steps', 'whiteouts', 'attributes', 'handles', 'identity']
    t.ok(kept(fixture.work).some((name) => !known.includes(name)))
  })
})
