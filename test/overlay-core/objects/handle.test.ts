import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OffsetMap } from '../../../overlay-core/base/offset-map.ts'
import { type Inode, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { HandleFile } from '../../../overlay-core/objects/handle-file.ts'
import { openRoot } from '../../../overlay-core/sys/open.ts'
import { at, errnoOf, put, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

t.setTimeout(120_000)

const MODE = { mode: 0o644 }

/** Gives the identity of the object at `path` away, as a protocol does. */
async function give(overlay: Overlay, path: string): Promise<Inode> {
  const inode = await at(overlay, path)
  overlay.retain(inode)
  await overlay.retained()
  return inode
}

t.test(
  'an identity leads to its object after copy-up, after a rename of it or its parents, and after a restart',
  async (t) => {
    await withOverlay(t, [{ 'a/b/file': 'content', 'x/y': '' }], async (fixture) => {
      const file = await give(fixture.overlay, 'a/b/file')
      const check = async (path: string) => {
        const overlay = await fixture.remount()
        const inode = await overlay.inodeByKey(file.key, file.generation)
        t.equal(inode, await at(overlay, path), path)
      }
      await check('a/b/file')
      await put(fixture.overlay, 'a/b/file', 'CONTENT')
      await check('a/b/file')
      await fixture.overlay.rename(ROOT, fixture.overlay.root, 'a', await at(fixture.overlay, 'x'), 'moved')
      await check('x/moved/b/file')
      const dir = await at(fixture.overlay, 'x/moved/b')
      await fixture.overlay.rename(ROOT, dir, 'file', fixture.overlay.root, 'top')
      await check('top')
      await fixture.overlay.link(ROOT, await at(fixture.overlay, 'top'), fixture.overlay.root, 'second')
      await fixture.overlay.unlink(ROOT, fixture.overlay.root, 'top')
      await check('second')
      await fixture.overlay.unlink(ROOT, fixture.overlay.root, 'second')
      const overlay = await fixture.remount()
      t.equal(await errnoOf(() => overlay.inodeByKey(file.key, file.generation)), 'ESTALE')
    })
  },
)

t.test('a reused inode number never leads to another object', async (t) => {
  await withOverlay(t, [{ keep: '' }], async (fixture) => {
    let reused = 0
    for (let i = 0; i < 40; i++) {
      const { overlay } = fixture
      const old = await overlay.create(ROOT, overlay.root, `old${i}`, MODE)
      overlay.retain(old)
      await overlay.retained()
      await overlay.unlink(ROOT, overlay.root, `old${i}`)
      const fresh = await overlay.create(ROOT, overlay.root, `new${i}`, MODE)
      if (fresh.key === old.key) reused++
      t.equal(await errnoOf(() => overlay.inodeByKey(old.key, old.generation)), 'ESTALE')
    }
    t.ok(reused > 0, `${reused} inode numbers were used again`)
  })
})

t.test('a name that was given to another object does not lead to the old one', async (t) => {
  await withOverlay(t, [{ f: 'old' }], async (fixture) => {
    const old = await give(fixture.overlay, 'f')
    const staged = await fixture.overlay.stage(ROOT)
    await staged.append([Buffer.from('new')])
    await staged.publish({ dir: fixture.overlay.root, name: 'f', ...MODE })
    const overlay = await fixture.remount()
    t.equal(await text(overlay, 'f'), 'new')
    t.equal(await errnoOf(() => overlay.inodeByKey(old.key, old.generation)), 'ESTALE')
  })
})

t.test('identities survive SIGKILL, and a torn record at the end of the log is cut off', async (t) => {
  await withOverlay(t, [{ 'deep/er/file': 'x' }], async (fixture) => {
    await fixture.overlay.unmount()
    const script = `
      import { mount, parseOptions } from ${JSON.stringify(join(import.meta.dirname, '../../../overlay-core/index.ts'))}
      const overlay = await mount(parseOptions(process.argv[1]))
      const cred = { uid: 0, gid: 0, groups: [] }
      let inode = overlay.root
      for (const name of ['deep', 'er', 'file']) inode = await overlay.lookup(cred, inode, name)
      overlay.retain(inode)
      await overlay.retained()
      console.log(JSON.stringify([inode.key, inode.generation]))
      setInterval(() => undefined, 1000)`
    const options = `lowerdir=${fixture.lowers[0]},upperdir=${fixture.upper},workdir=${fixture.work}`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    child.kill('SIGKILL')
    await once(child, 'exit')
    const [key, generation] = JSON.parse(line.toString()) as [number, number]
    const log = join(fixture.work, 'handles.log')
    const { size } = statSync(log)
    appendFileSync(log, Buffer.from('torn record of no sense'))
    const overlay = await fixture.remount()
    t.equal(await overlay.inodeByKey(key, generation), await at(overlay, 'deep/er/file'))
    t.equal(statSync(log).size, size, 'the torn end is gone')
  })
})

t.test('a file that is not a log is replaced by a new log', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    await fixture.overlay.unmount()
    writeFileSync(join(fixture.work, 'handles.log'), 'something else')
    const overlay = await fixture.remount()
    // What is only in the upper is recorded there, also on a stack.
    await overlay.create(ROOT, overlay.root, 'own', { mode: 0o644 })
    await give(overlay, 'own')
    t.match(readFileSync(join(fixture.work, 'handles.log'), 'latin1'), /^OVLLOG01handles/)
  })
})

t.test(
  'the log shrinks after removals while the server runs, and keeps every identity given to a client meanwhile',
  async (t) => {
    await withOverlay(t, [{ keep: '' }], async (fixture) => {
      const { overlay } = fixture
      const kept = await give(overlay, 'keep')
      const log = join(fixture.work, 'handles.log')
      const name = 'n'.repeat(200)
      const given: Inode[] = []
      let largest = 0
      for (let round = 0; round < 120; round++) {
        const made = await Promise.all(
          Array.from({ length: 50 }, (_, i) => overlay.create(ROOT, overlay.root, `${name}${i}`, MODE)),
        )
        for (const inode of made) overlay.retain(inode)
        const stays = await overlay.create(ROOT, overlay.root, `stays-${round}-`, MODE)
        overlay.retain(stays)
        await overlay.retained()
        if (!readFileSync(log, 'latin1').includes(`stays-${round}-`))
          t.fail(`${round} was not in the file when it was answered`)
        given.push(stays)
        await Promise.all(made.map((_, i) => overlay.unlink(ROOT, overlay.root, `${name}${i}`)))
        largest = Math.max(largest, statSync(log).size)
      }
      t.ok(largest < 1_500_000, `never more than ${largest} bytes, though more were written`)
      const again = await fixture.remount()
      t.equal(await again.inodeByKey(kept.key, kept.generation), await at(again, 'keep'))
      for (const [round, { key, generation }] of given.entries()) {
        if ((await again.inodeByKey(key, generation)) !== (await at(again, `stays-${round}-`)))
          t.fail(`${round} is lost`)
      }
    })
  },
)

t.test('identities are recorded, found and forgotten while the log is being rewritten', async (t) => {
  await withOverlay(t, [{}], async (fixture) => {
    const { overlay } = fixture
    const log = join(fixture.work, 'handles.log')
    const make = async (name: string) => {
      const inode = await overlay.create(ROOT, overlay.root, name, MODE)
      overlay.retain(inode)
      await overlay.retained()
      return inode
    }
    const padding = 'p'.repeat(230)
    const dead = await Promise.all(Array.from({ length: 3500 }, (_, i) => make(`${padding}${i}`)))
    await Promise.all(dead.map((_, i) => overlay.unlink(ROOT, overlay.root, `${padding}${i}`)))
    const before = statSync(log).ino
    const answers: Promise<void>[] = [overlay.sync()]
    const made: Inode[] = []
    for (let i = 0; i < 200; i++) {
      answers.push(
        make(`live-${i}-`).then((inode) => {
          made[i] = inode
          if (!readFileSync(log, 'latin1').includes(`live-${i}-`))
            t.fail(`${i} was not in the file when it was answered`)
        }),
      )
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(answers)
    t.not(statSync(log).ino, before, 'the log was rewritten')
    const again = await fixture.remount()
    for (const [i, { key, generation }] of made.entries()) {
      if ((await again.inodeByKey(key, generation)) !== (await at(again, `live-${i}-`))) t.fail(`${i} is lost`)
    }
    t.ok(statSync(log).size < 200_000, `${statSync(log).size} bytes`)
  })
})

t.test('without an upper, the log is in the directory that the server names', async (t) => {
  await withOverlay(
    t,
    [{ 'd/f': 'x' }],
    async (fixture) => {
      const file = await give(fixture.overlay, 'd/f')
      const overlay = await fixture.remount()
      t.equal(
        await errnoOf(() => overlay.inodeByKey(file.key, file.generation)),
        'ESTALE',
        'a nameless log ends with the mount',
      )
    },
    { readOnly: true },
  )
  const dir = t.testdir({})
  mkdirSync(join(dir, 'h'))
  await withOverlay(
    t,
    [{ 'd/f': 'x' }],
    async (fixture) => {
      const file = await give(fixture.overlay, 'd/f')
      const second = await mount(parseOptions(`lowerdir=${fixture.lowers[0]}`), { handleDirectory: join(dir, 'h') })
      second.retain(await at(second, 'd'))
      await second.unmount()
      const overlay = await fixture.remount()
      t.equal(
        await overlay.inodeByKey(file.key, file.generation),
        await at(overlay, 'd/f'),
        'a second overlay over the same lowers has left the log alone',
      )
    },
    { readOnly: true, environment: { handleDirectory: join(dir, 'h') } },
  )
})

t.test('the record of a file survives the late removal of the file that had its key before', async (t) => {
  const dirFd = await openRoot(t.testdir({}))
  const open = async () => (await HandleFile.in(dirFd)).log
  const log = await open()
  const record = { key: 7, dirKey: 1, name: 'f' }
  log.put({ ...record, generation: 1 })
  log.put({ ...record, generation: 2 })
  log.remove(7, 1)
  await log.flushed()
  for (const [when, now] of Object.entries({ 'while it runs': log, 'after a restart': await open() })) {
    t.match(await now.find(7), [{ generation: 2, name: 'f' }], when)
    t.equal(now.has(7, 1), false)
    t.equal(now.has(7, 2), true)
  }
  // As an earlier version wrote it down.
  log.remove(7, 2)
  log.put({ ...record, generation: 3 })
  await log.flushed()
  t.match(await (await open()).find(7), [{ generation: 3 }])
})

t.test('a removed object never overwrites the record of the object that got its key', async (t) => {
  await withOverlay(t, [{ keep: '' }], async (fixture) => {
    const { overlay } = fixture
    const given: Inode[] = []
    let reused = 0
    for (let i = 0; i < 40; i++) {
      const old = await overlay.create(ROOT, overlay.root, 'old', MODE)
      await overlay.unlink(ROOT, overlay.root, 'old')
      const fresh = await overlay.create(ROOT, overlay.root, `fresh${i}`, MODE)
      if (fresh.key === old.key) reused++
      overlay.retain(fresh)
      overlay.retain(old)
      given.push(fresh)
    }
    await overlay.retained()
    t.ok(reused > 0, `${reused} inode numbers were used again`)
    const again = await fixture.remount()
    for (const [i, { key, generation }] of given.entries()) {
      t.equal(await again.inodeByKey(key, generation), await at(again, `fresh${i}`))
    }
  })
})

t.test('the offset map keeps its entries through growth and removals', (t) => {
  const table = new OffsetMap()
  const expected = new Map<number, number>()
  for (let i = 1; i < 60_000; i++) {
    const key = (i * 2654435761) % 20_011
    if (i % 3 === 0) {
      table.delete(key)
      expected.delete(key)
    } else {
      table.set(key, i, i % 7)
      expected.set(key, i)
    }
  }
  t.equal(table.size, expected.size)
  let wrong = 0
  for (let key = 0; key < 20_011; key++) {
    const place = expected.get(key) ?? 0
    if (table.get(key) !== place || table.tag(key) !== place % 7) wrong++
  }
  t.equal(wrong, 0)
  t.same([...table.keys()].sort(), [...expected.keys()].sort())
  t.end()
})

t.test('the kernel mounts a workdir that contains a log', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    await give(fixture.overlay, 'f')
    await fixture.overlay.unmount()
    const merged = join(fixture.dir, 'merged')
    mkdirSync(merged)
    const options = `lowerdir=${fixture.lowers[0]},upperdir=${fixture.upper},workdir=${fixture.work},index=on`
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged])
    execFileSync('umount', [merged])
    const overlay = await fixture.remount()
    t.equal(await text(overlay, 'f'), 'x')
  })
})

t.test(
  'records that nobody has confirmed since many changes of the layers are dropped, if they are many',
  async (t) => {
    const dirFd = await openRoot(t.testdir({}))
    const store = await HandleFile.in(dirFd)
    const { log } = store
    const record = (key: number) => ({ key, generation: 1, dirKey: 1, name: `${key}`.padEnd(250, '-') })
    const OLD = 70_000
    for (let key = 1; key <= OLD; key++) {
      log.put(record(key))
      if (key % 1000 === 0) await log.flushed()
    }
    for (let change = 1; change < 8; change++) log.layersChanged()
    await new Promise((resolve) => setTimeout(resolve, 50))
    t.notOk(log.wantsCompaction, 'not before the eighth change')
    for (let key = 1; key <= 10; key++) log.put(record(key))
    log.layersChanged()
    for (let key = 11; key <= 20; key++) log.put(record(key))
    t.equal(log.size, OLD)
    while (!log.wantsCompaction) await new Promise((resolve) => setTimeout(resolve, 10))
    await log.compact()
    await log.sync()
    store.close()
    const again = await HandleFile.in(dirFd)
    t.equal(again.log.size, 20, 'those confirmed since then are kept')
    t.ok(again.log.has(10, 1))
    t.ok(again.log.has(20, 1))
    t.ok(again.log.usage.bytes < 10_000)
    t.notOk(again.log.put(record(20)), 'it is confirmed already')
    t.ok(again.log.put(record(1)), 'it was not since the last change')
    again.close()
  },
)
