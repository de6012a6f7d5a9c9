import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mount, openStack, parseOptions } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { openOrMakeDirectory } from '../../../overlay-core/sys/new-directory.ts'
import { placeFile } from '../../../overlay-core/sys/new-file.ts'
import { closeSync, closesDone } from '../../../overlay-core/sys/open.ts'
import { clearXattrs, getXattr, setXattr, setXattrElsewhere } from '../../../overlay-core/sys/xattr.ts'
import { scratchDir } from './scratch-dir.ts'

const CONTENT = Buffer.from('content')
const descriptors = () => readdirSync('/proc/self/fd').length
const errnoOf = (code: 'ENOSPC' | 'EIO') => (code === 'ENOSPC' ? 28 : 5)

/** How many times this thread has written. */
function writes(): number {
  return Number(/^syscw: (\d+)$/m.exec(readFileSync('/proc/thread-self/io', 'latin1'))?.[1])
}

t.test('a directory is opened, and made if it is absent', async (t) => {
  const { path, fd } = await scratchDir(t)
  mkdirSync(join(path, 'there'), { mode: 0o755 })
  writeFileSync(join(path, 'file'), '')
  for (const name of ['there', 'new', 'new']) {
    const opened = await openOrMakeDirectory(fd, name, 0o700)
    t.equal(statSync(`/proc/self/fd/${opened}`).ino, statSync(join(path, name)).ino)
    closeSync(opened)
  }
  t.equal(statSync(join(path, 'there')).mode & 0o777, 0o755)
  t.equal(statSync(join(path, 'new')).mode & 0o777, 0o700)
  await t.rejects(openOrMakeDirectory(fd, 'file', 0o700), { code: 'ENOTDIR' })
})

t.test('a small file replaces another one', async (t) => {
  const { path, fd } = await scratchDir(t)
  writeFileSync(join(path, 'f'), 'old')
  writeFileSync(join(path, 'temp'), 'longer than the new content', { mode: 0o600 })
  await placeFile(fd, 'temp', 'f', CONTENT)
  t.equal(readFileSync(join(path, 'f'), 'utf8'), 'content')
  t.equal(statSync(join(path, 'f')).mode & 0o777, 0o600)
  t.same(readdirSync(path), ['f'])
})

t.test('attributes are set and cleared, also if some are absent', async (t) => {
  const { fd } = await scratchDir(t)
  await setXattrElsewhere(fd, 'user.a', CONTENT)
  await setXattr(fd, '', 'user.c', CONTENT)
  t.same(await getXattr(fd, '', 'user.a'), new Uint8Array(CONTENT))
  await clearXattrs(fd, ['user.a', 'user.b', 'user.c'])
  t.equal(await getXattr(fd, '', 'user.a'), undefined)
  t.equal(await getXattr(fd, '', 'user.c'), undefined)
})

t.test('an error of any of their calls is reported, and nothing stays open', async (t) => {
  const { path, fd } = await scratchDir(t)
  writeFileSync(join(path, 'f'), 'old')
  t.teardown(() => setFaultPoints(undefined))
  const failing = async (ops: readonly string[], code: 'ENOSPC' | 'EIO', work: () => Promise<unknown>) => {
    const before = descriptors()
    for (const failingOp of ops) {
      let met = 0
      setFaultPoints({ before: (op) => (op === failingOp ? ++met && errnoOf(code) : 0), after: () => undefined })
      await t.rejects(work(), { code }, failingOp)
      t.ok(met > 0, failingOp)
    }
    setFaultPoints(undefined)
    await closesDone()
    t.equal(descriptors(), before)
  }
  await failing(['openat', 'pwrite', 'renameat2'], 'ENOSPC', () => placeFile(fd, 'temp', 'f', CONTENT))
  t.equal(readFileSync(join(path, 'f'), 'utf8'), 'old')
  await failing(['mkdirat', 'openat'], 'EIO', async () => closeSync(await openOrMakeDirectory(fd, 'd', 0o700)))
  await failing(['setxattr'], 'ENOSPC', () => setXattrElsewhere(fd, 'user.a', CONTENT))
  await failing(['removexattr'], 'EIO', () => clearXattrs(fd, ['user.a', 'user.b']))
})

t.test('first mounts write their files elsewhere than on the event loop', async (t) => {
  const dir = t.testdir({ lower: { file: '' } })
  const stack = await openStack(parseOptions(`lowerdir=${dir}/lower`))
  const make = async (i: number) => {
    for (const name of ['upper', 'work']) mkdirSync(join(dir, `v${i}`, name), { recursive: true })
    const own = `upperdir=${dir}/v${i}/upper,workdir=${dir}/v${i}/work`
    const overlay = await mount(parseOptions(`lowerdir=${dir}/lower,${own}`), { stack, claimed: true })
    await overlay.unmount({ sync: false })
  }
  // Enough calls for threads to be started; without them no call is made on the loop.
  for (let i = 0; i < 60; i++) await make(i)
  const before = writes()
  for (let i = 60; i < 80; i++) await make(i)
  const after = writes()
  // Node wakes its threads by writing, too.
  t.ok(after - before < 10, `${after - before} writes`)
  t.ok(statSync(join(dir, 'v79/work/identity.log')).size > 0)
  await stack.close()
})
