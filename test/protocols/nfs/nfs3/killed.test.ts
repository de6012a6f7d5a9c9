import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startMortalServer } from '../../../helpers/mortal-server.ts'
import { type Answer, type Handle, NfsClient, STATUS } from '../../../helpers/nfs-client.ts'

t.setTimeout(120_000)

function layers(t: Test) {
  const dir = t.testdir({
    lower: {
      'lower-file': 'below',
      'lower-gone': 'below',
      'lower-from': 'below',
      'lower-dir': {},
      'lower-guarded': '',
    },
    upper: {},
    work: {},
  })
  const upper = join(dir, 'upper')
  for (const name of ['gone', 'from', 'over', 'file', 'guarded']) writeFileSync(join(upper, name), name)
  mkdirSync(join(upper, 'empty'))
  return {
    upper,
    options: `lowerdir=${dir}/lower,upperdir=${upper},workdir=${dir}/work`,
    replies: join(dir, 'replies'),
  }
}

interface Objects {
  readonly root: Handle
  readonly file: Handle
  readonly lowerFile: Handle
  readonly guarded: Handle
  readonly ctime: { sec: number; nsec: number }
}

async function find(client: NfsClient): Promise<Objects> {
  const root = await client.mount()
  const guarded = await client.walk(root, 'guarded')
  const { attr } = await client.getattr(guarded)
  return {
    root,
    file: await client.walk(root, 'file'),
    lowerFile: await client.walk(root, 'lower-file'),
    guarded,
    ctime: attr!.ctime,
  }
}

/** Every call that would answer otherwise the second time, and some that would not, in one go. */
const CALLS: Readonly<Record<string, (client: NfsClient, objects: Objects) => Promise<Answer>>> = {
  'CREATE GUARDED': (client, { root }) => client.create(root, 'created'),
  'CREATE EXCLUSIVE': (client, { root }) =>
    client.create(root, 'exclusive', { mode: 'exclusive', verifier: Buffer.from('12345678') }),
  'CREATE UNCHECKED': (client, { root }) =>
    client.create(root, 'unchecked', { mode: 'unchecked', attr: { mode: 0o640 } }),
  MKDIR: (client, { root }) => client.mkdir(root, 'directory', { mode: 0o750, uid: 1234 }),
  SYMLINK: (client, { root }) => client.symlink(root, 'symlink', '../target'),
  MKNOD: (client, { root }) => client.mknod(root, 'fifo', 7),
  'MKNOD of a device': (client, { root }) => client.mknod(root, 'null', 4, { mode: 0o666 }, [1, 3]),
  REMOVE: (client, { root }) => client.remove(root, 'gone'),
  'REMOVE of a lower file': (client, { root }) => client.remove(root, 'lower-gone'),
  RMDIR: (client, { root }) => client.rmdir(root, 'empty'),
  'RMDIR of a lower directory': (client, { root }) => client.rmdir(root, 'lower-dir'),
  'RENAME over another': (client, { root }) => client.rename(root, 'from', root, 'over'),
  'RENAME of a lower file': (client, { root }) => client.rename(root, 'lower-from', root, 'lower-to'),
  LINK: (client, { root, file }) => client.link(file, root, 'further'),
  'LINK to a lower file': (client, { root, lowerFile }) => client.link(lowerFile, root, 'lower-further'),
  'SETATTR with a guard': (client, { guarded, ctime }) => client.setattr(guarded, { mode: 0o600 }, ctime),
}
const XID = 0x7000_0000

function ask(client: NfsClient, objects: Objects): Promise<Answer>[] {
  client.rpc.nextXid = XID
  return Object.values(CALLS).map((call) => call(client, objects))
}

async function askAgain(t: Test, port: number, objects: Objects): Promise<Answer[]> {
  const client = await NfsClient.connect(port)
  const answers = await Promise.all(ask(client, objects))
  await client.close()
  for (const [i, name] of Object.keys(CALLS).entries()) t.equal(answers[i]?.status, STATUS.OK, name)
  return answers
}

function checkLayers(t: Test, upper: string): void {
  const at = (name: string) => join(upper, name)
  for (const name of ['created', 'exclusive', 'unchecked']) t.equal(lstatSync(at(name)).size, 0, name)
  t.match(lstatSync(at('directory')), { uid: 1234, mode: 0o40750 })
  t.equal(readlinkSync(at('symlink')), '../target')
  t.ok(lstatSync(at('fifo')).isFIFO())
  t.equal(lstatSync(at('null')).rdev, 0x103)
  for (const name of ['gone', 'empty', 'from']) t.notOk(existsSync(at(name)), name)
  for (const name of ['lower-gone', 'lower-dir', 'lower-from'])
    t.equal(lstatSync(at(name)).rdev, 0, `${name} is a whiteout`)
  t.equal(readFileSync(at('over'), 'latin1'), 'from')
  t.equal(readFileSync(at('lower-to'), 'latin1'), 'below')
  t.equal(lstatSync(at('file')).nlink, 2)
  t.equal(lstatSync(at('further')).ino, lstatSync(at('file')).ino)
  t.equal(lstatSync(at('lower-further')).ino, lstatSync(at('lower-file')).ino)
  t.equal(lstatSync(at('guarded')).mode & 0o7777, 0o600)
}

for (const when of ['done', 'answered'] as const) {
  t.test(
    when === 'done'
      ? 'a server killed when changes are done and nothing is noted of it answers them as done when it is asked again'
      : 'a server killed when replies are noted and before they are sent gives them when it is asked again',
    async (t) => {
      const { upper, ...files } = layers(t)
      const after = Object.keys(CALLS).length
      const first = await startMortalServer(t, { ...files, dies: { when, after } })
      const lost = await NfsClient.connect(first.port)
      const objects = await find(lost)
      const answers = ask(lost, objects).map((answer) => answer.catch(() => 'lost'))
      await first.died
      t.ok((await Promise.all(answers)).includes('lost'))
      checkLayers(t, upper)

      const second = await startMortalServer(t, files)
      const given = await askAgain(t, second.port, objects)
      checkLayers(t, upper)
      await second.kill()

      const third = await startMortalServer(t, files)
      t.same(await askAgain(t, third.port, objects), given, 'and once more, after another kill')
      const client = await NfsClient.connect(third.port)
      t.equal((await client.mkdir(objects.root, 'directory')).status, STATUS.EXIST, 'a new call is a new call')
      t.equal((await client.remove(objects.root, 'gone')).status, STATUS.NOENT)
      await client.close()
      await third.kill()
    },
  )
}
