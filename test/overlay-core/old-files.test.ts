import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode, Overlay } from '../../overlay-core/index.ts'
import { IntentLog, replayIntents } from '../../overlay-core/layer/intent-log.ts'
import type { Real } from '../../overlay-core/layer/layer.ts'
import { hasSidecar, parseSidecar, SidecarLog } from '../../overlay-core/sidecar/sidecar-log.ts'
import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import { closeSync, openRoot } from '../../overlay-core/sys/open.ts'
import { toOldForm } from '../helpers/old-files.ts'
import { at, ROOT, withOverlay } from '../helpers/overlay.ts'
import { tmpfs } from '../helpers/tmpfs.ts'

t.setTimeout(600_000)

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

t.test('handles and identities recorded by an earlier version are taken over, and its files are removed', async (t) => {
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

t.test('20,000 handles of an earlier version are taken over', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const f = await give(fixture.overlay, 'f')
    await fixture.overlay.unmount()
    toOldForm(fixture.work)
    const path = join(fixture.work, 'handles')
    const record = readFileSync(path).subarray(8)
    const many = Buffer.concat([readFileSync(path), ...Array.from({ length: 20_000 }, () => record)])
    writeFileSync(path, many)
    t.ok(statSync(path).size > 700_000)
    t.ok(await finds(await fixture.remount(), f, 'f'))
  })
})

t.test('nothing is lost, whichever call fails while files are taken over', async (t) => {
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

/** The sidecar of an earlier version: attributes, a number, a finished move, a move and a line that a crash cut off. */
const OLD_ATTRIBUTES = [
  '{"op":"next","ino":4294967300}',
  '{"op":"set","at":["upper","d\u00e9"],"attr":"opaque","value":"eQ=="}',
  '',
  '{"op":"number","at":["upper","f"],"ino":4294967296}',
  '{"op":"move","n":0,"from":["upper","f"],"to":["upper","g"]}',
  '{"op":"end","n":0,"done":true,"from":["upper","f"],"to":["upper","g"]}',
  '{"op":"move","n":1,"from":["upper","g"],"to":["upper","h"]}',
  '{"op":"set","at":["upper","x"],"at',
].join('\n')

t.test('the attributes of an earlier version are taken over, whichever call fails meanwhile', async (t) => {
  const expected = parseSidecar(OLD_ATTRIBUTES)
  t.equal(expected.length, 6)
  for (let nth = 0, failed = true; failed; nth++) {
    const dir = tmpfs(t)
    writeFileSync(join(dir, 'attributes'), OLD_ATTRIBUTES, 'latin1')
    const workdirFd = await openRoot(dir)
    t.same((await SidecarLog.open(workdirFd, true)).lines, expected, 'where nothing can be written it is read')
    const open = async () => {
      const { log, lines } = await SidecarLog.open(workdirFd, false)
      log.close()
      return lines
    }
    let calls = 0
    const hits = (op: string) => /^(pwrite|fsync|renameat2|unlinkat|ftruncate|openat2)$/.test(op) && ++calls === nth
    setFaultPoints({ before: (op) => (hits(op) ? 5 : 0), after: () => undefined })
    failed = await open().then(
      () => nth === 0,
      () => true,
    )
    setFaultPoints(undefined)
    t.ok(await hasSidecar(workdirFd))
    for (const when of ['at first', 'again']) t.same(await open(), expected, `call ${nth}, ${when}`)
    t.same(readdirSync(dir), ['attributes.log'], `call ${nth}`)
    t.same((await SidecarLog.open(workdirFd, true)).lines, expected)
    closeSync(workdirFd)
  }
})

t.test('changes begun by an earlier version are completed, and then forgotten', async (t) => {
  const dir = t.testdir({ upper: { d: { f: 'object', '.wh.f': '' } }, workdir: { work: { 'held-0': 'aside' } } })
  const steps = [
    '\n{"at":[{"path":["d"],"name":"f"}]}\n',
    '\n{"at":[{"path":["d"],"name":"back"}],"held":"held-0"}\n',
    '{"at":[{"path":["d"],"na',
  ]
  writeFileSync(join(dir, 'workdir/steps'), Buffer.concat([Buffer.from(steps.join('')), Buffer.alloc(4096, '\n')]))
  const [upperFd, workdirFd, workFd] = await Promise.all(
    ['upper', 'workdir', 'workdir/work'].map((name) => openRoot(join(dir, name))),
  )
  const replay = () => replayIntents(workdirFd!, workFd!, upperFd!, (name) => `.wh.${name}`)
  t.same(await replay(), [{ held: 'held-0', to: ['d', 'back'] }])
  t.same(readdirSync(join(dir, 'upper/d')).sort(), ['back', 'f'])
  const intents = await IntentLog.start(workdirFd!)
  t.same(readdirSync(join(dir, 'workdir')).sort(), ['intents.log', 'work'])
  const upper = { fd: upperFd, parent: undefined, name: '' } as unknown as Real
  await intents.holding([{ dir: upper, name: 'home' }], async (held) => {
    writeFileSync(join(dir, 'workdir/work', held), 'aside')
    t.same(await replay(), [{ held, to: ['home'] }], 'a crash at this moment')
  })
  const long = 'n'.repeat(250)
  for (let i = 0; i < 400; i++) await intents.noting([{ dir: upper, name: long }], async () => undefined)
  await intents.noting([{ dir: upper, name: 'home' }], async () => undefined)
  t.ok(statSync(join(dir, 'workdir/intents.log')).size < 70_000, 'the log starts over')
  writeFileSync(join(dir, 'upper/.wh.home'), '')
  await replay()
  t.notOk(existsSync(join(dir, 'upper/.wh.home')))
  intents.close()
  for (const fd of [upperFd, workdirFd, workFd]) closeSync(fd!)
})

t.test('on a full disk an earlier version’s files stay, and are read until there is space', async (t) => {
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
