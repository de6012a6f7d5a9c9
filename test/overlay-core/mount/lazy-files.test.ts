import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Inode, isErrno, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }

async function scratch(t: Test): Promise<{ dir: string; open: () => Promise<Overlay> }> {
  const dir = await mkdtemp(join(tmpdir(), 'overlayd-lazy-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  for (const part of ['lower', 'upper', 'work']) mkdirSync(join(dir, part))
  writeFileSync(join(dir, 'lower', 'file'), 'content')
  const options = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
  return { dir, open: () => mount(parseOptions(options)) }
}

const handlesOf = (dir: string) => readdirSync(join(dir, 'work')).filter((name) => name.startsWith('handles'))

t.test('the log of handles is created with the first handle, and found by the next mount', async (t) => {
  const { dir, open } = await scratch(t)
  const first = await open()
  await first.lookup(ROOT, first.root, 'file')
  t.same(handlesOf(dir), [])
  await first.unmount()
  t.same(handlesOf(dir), [], 'without handles there is nothing to write')
  const second = await open()
  const file = (await second.lookup(ROOT, second.root, 'file')) as Inode
  second.retain(file)
  await second.retained()
  t.same(handlesOf(dir), ['handles.log'])
  t.equal(statSync(join(dir, 'work', 'handles.log')).mode & 0o777, 0o600)
  await second.unmount()
  const third = await open()
  t.equal((await third.inodeByKey(file.key, file.generation)).key, file.key)
  await third.unmount()
})

t.test('an overlay that ends without a sync keeps changes and handles, and calls no fsync', async (t) => {
  const { dir, open } = await scratch(t)
  const first = await open()
  const file = (await first.lookup(ROOT, first.root, 'file')) as Inode
  await first.write(ROOT, file, Buffer.from('CONTENT'), 0, 'unstable')
  first.retain(file)
  const syncs: string[] = []
  setFaultPoints({
    before: (op) => {
      if (op.includes('sync')) syncs.push(op)
      return 0
    },
    after: () => undefined,
  })
  t.teardown(() => setFaultPoints(undefined))
  await first.unmount({ sync: false })
  t.same(
    syncs.filter((op) => op !== 'sync_file_range'),
    [],
  )
  const second = await open()
  const again = await second.inodeByKey(file.key, file.generation)
  t.equal(again.key, file.key)
  t.equal(readFileSync(join(dir, 'upper', 'file'), 'latin1'), 'CONTENT')
  await second.unmount()
  t.ok(syncs.includes('syncfs'), `by default everything is synced: ${syncs}`)
})

t.test('handles given out at once share one new log', async (t) => {
  const { dir, open } = await scratch(t)
  for (let i = 0; i < 50; i++) writeFileSync(join(dir, 'lower', `f${i}`), '')
  const overlay = await open()
  const given = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const inode = (await overlay.lookup(ROOT, overlay.root, `f${i}`)) as Inode
      overlay.retain(inode)
      await overlay.retained()
      return inode
    }),
  )
  await overlay.unmount()
  const again = await open()
  for (const { key, generation } of given) t.equal((await again.inodeByKey(key, generation)).key, key)
  await again.unmount()
})

t.test('a name that cannot become the log fails the handle, not the mount', async (t) => {
  const { dir, open } = await scratch(t)
  const overlay = await open()
  // A symlink is never followed.
  symlinkSync('/dev/null', join(dir, 'work', 'handles.log'))
  const file = (await overlay.lookup(ROOT, overlay.root, 'file')) as Inode
  overlay.retain(file)
  await t.rejects(Promise.resolve(overlay.retained()))
  rmSync(join(dir, 'work', 'handles.log'))
  await overlay.retained()
  t.same(handlesOf(dir), ['handles.log'], 'and works as soon as it can')
  await overlay.unmount().catch((error: unknown) => t.ok(isErrno(error)))
})

t.test('identities are there when the mount ends, and damage to a first file is no harm', async (t) => {
  const { dir, open } = await scratch(t)
  const first = await open()
  const { key } = (await first.lookup(ROOT, first.root, 'file')) as Inode
  await first.unmount()
  const identity = join(dir, 'work', 'identity.log')
  t.ok(readFileSync(identity).length > 0)
  // What a power loss may leave of a file that was never synced.
  writeFileSync(identity, '')
  const second = await open()
  t.equal(((await second.lookup(ROOT, second.root, 'file')) as Inode).key, key)
  await second.unmount()
})
