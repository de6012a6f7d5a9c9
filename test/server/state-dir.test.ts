import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { OptionError } from '../../overlay-core/index.ts'
import * as stateDir from '../../server/state-dir.ts'

const random = (length: number) => new Uint8Array(length).fill(7)

t.test('the handle key is made once, for its owner only', async (t) => {
  const dir = join(t.testdir(), 'a/state')
  const first = await stateDir.loadHandleKey(dir, random)
  t.same([...first], new Array(32).fill(7))
  const again = await stateDir.loadHandleKey(dir, (length) => new Uint8Array(length).fill(9))
  t.same([...again], [...first], 'the second time it is read')
  t.equal((await stat(join(dir, 'nfs-handle-key'))).mode & 0o777, 0o600)
  t.equal((await stat(dir)).mode & 0o777, 0o700)
  t.same(await readdir(dir), ['nfs-handle-key'], 'nothing else is left')
})

t.test('two servers that start at once get the same key', async (t) => {
  const dir = t.testdir()
  let fill = 0
  const keys = await Promise.all(
    [1, 2, 3, 4].map(() => stateDir.loadHandleKey(dir, (length) => new Uint8Array(length).fill(fill++))),
  )
  for (const key of keys) t.same([...key], [...keys[0]!])
})

t.test('a key that is damaged, open to others or a symlink is refused and left alone', async (t) => {
  const dir = t.testdir({ 'nfs-handle-key': 'short' })
  const path = join(dir, 'nfs-handle-key')
  await chmod(path, 0o600)
  await t.rejects(stateDir.loadHandleKey(dir, random), { message: /^--state-dir: .*5 bytes instead of 32/ })
  await writeFile(path, Buffer.alloc(32))
  await chmod(path, 0o640)
  await t.rejects(stateDir.loadHandleKey(dir, random), { message: /^--state-dir: .*chmod 600/ })
  t.equal((await readFile(path)).length, 32)
  const linked = t.testdir({ linked: {}, target: Buffer.alloc(32) })
  await symlink('../target', join(linked, 'linked/nfs-handle-key'))
  await t.rejects(stateDir.loadHandleKey(join(linked, 'linked'), random), OptionError)
})

t.test('the ready file is whole JSON, and its directory has to exist', async (t) => {
  const dir = t.testdir({ file: '' })
  const path = join(dir, 'ready')
  const ready = { webdav: null, nfs: { host: '127.0.0.1', port: 2049, export: '/overlay' } }
  await stateDir.checkReadyFile(path)
  await stateDir.writeReadyFile(path, ready)
  await stateDir.writeReadyFile(path, ready)
  t.same(JSON.parse(await readFile(path, 'utf8')), ready)
  t.same((await readdir(dir)).sort(), ['file', 'ready'])
  await t.rejects(stateDir.checkReadyFile(join(dir, 'no/ready')), { message: /^--ready-file: .*does not exist/ })
  await t.rejects(stateDir.checkReadyFile(join(dir, 'file/ready')), { message: /^--ready-file: / })
})

t.test('whether a directory can be made is told without making it', async (t) => {
  const dir = t.testdir({ file: '' })
  await stateDir.checkWritable('--state-dir', join(dir, 'a/b'))
  t.same(await readdir(dir), ['file'])
  await t.rejects(stateDir.checkWritable('--state-dir', join(dir, 'file')), { message: /is not a directory/ })
  await t.rejects(stateDir.checkWritable('--state-dir', join(dir, 'file/x')), { message: /^--state-dir: / })
})

t.test('run files of running servers are read, and those of dead ones are removed', async (t) => {
  const dir = t.testdir()
  t.same(await stateDir.readRunFiles(dir), [], 'none when there is no directory')
  const run = {
    webdav: 'http://127.0.0.1:8080/overlay/',
    nfs: null,
    pid: process.pid,
    views: ['overlay'],
    admin: { socket: join(dir, 'run/1.sock') },
  }
  const path = String(await stateDir.writeRunFile(dir, run))
  // No process has this number: the kernel's largest is 4194304.
  await stateDir.writeRunFile(dir, { ...run, pid: 4_194_305 })
  await writeFile(join(dir, 'run/notes.txt'), 'not ours')
  t.same(await stateDir.readRunFiles(dir), [run])
  t.same((await readdir(join(dir, 'run'))).sort(), [`${process.pid}.json`, 'notes.txt'])
  await stateDir.removeRunFiles([path, join(dir, 'never-there')])
  t.same(await readdir(join(dir, 'run')), ['notes.txt'])
})

t.test('a truncated or invalid run file is skipped', async (t) => {
  const dir = t.testdir()
  await mkdir(join(dir, 'run'))
  await writeFile(join(dir, `run/${process.pid}.json`), '{"webdav":')
  t.same(await stateDir.readRunFiles(dir), [])
})

t.test('the directories of the sample are made and its tree is found', async (t) => {
  const dir = t.testdir()
  const { lower, upper, work } = await stateDir.makeSampleDirs(dir, undefined)
  t.ok((await readdir(lower)).includes('README.md'))
  t.same(await readdir(upper), [])
  t.same(await readdir(work), [])
  t.equal((await stat(join(dir, 'sample'))).mode & 0o777, 0o700, 'others reach it by the doors only')
})

t.test(
  "the sample for another user than root is that user's, and made once",
  { skip: process.geteuid?.() !== 0 && 'only root can give files away' },
  async (t) => {
    const dir = t.testdir()
    const owner = { uid: 65_534, gid: 65_533 }
    const { lower, upper } = await stateDir.makeSampleDirs(dir, owner)
    for (const path of [upper, lower, join(lower, 'README.md'), join(lower, 'docs'), join(lower, 'docs/draft.txt')]) {
      t.match(await stat(path), owner, path)
    }
    await writeFile(join(lower, 'README.md'), 'mine')
    t.same(await stateDir.makeSampleDirs(dir, owner), { lower, upper, work: join(dir, 'sample/work') })
    t.equal(await readFile(join(lower, 'README.md'), 'utf8'), 'mine')
    t.same((await readdir(join(dir, 'sample'))).sort(), ['lower', 'upper', 'work'])
  },
)
