import { join } from 'node:path'
import t from 'tap'
import { BIN, course, DAEMON } from '../server/course.ts'
import { run } from '../server/launch.ts'
import { mountDavfs } from './helpers/davfs.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote, type Shell } from './helpers/shell.ts'

t.setTimeout(1_200_000)
const scratch = makeScratch(t)
const booting = bootKernelClient(scratch)
// As a teacher would have it: the root of the clients is squashed.
const { dir, server } = await course(t, { more: 'create = true\nidle = "1s"' })
const client = await booting
const at = (path: string) => ({ host: '127.0.0.1', port: server.nfsPort as number, export: path })

/** Runs a script as a user of the client. */
function as({ uid, gid }: typeof DAEMON, script: string, sh: Shell = client.sh): Promise<string> {
  return sh(`setpriv --reuid ${uid} --regid ${gid} --clear-groups sh -c ${quote(script)}`)
}

async function view(...words: string[]): Promise<string> {
  return (await run(['view', ...words, '--state-dir', join(dir, 'state')])).stdout
}

t.test('two users mount their views with the kernel client and do not see the changes of each other', async (t) => {
  await mountNfs(client, at('/course/daemon'), '/mnt/daemon')
  await mountNfs(client, at('/course/bin'), '/mnt/bin')
  await as(
    DAEMON,
    'cd /mnt/daemon && echo mine > own && echo changed > welcome.txt && rm sub/a.txt && mkdir dir && mv own dir',
  )
  await as(BIN, 'cd /mnt/bin && echo other > own && mv sub moved')
  t.equal(
    await as(DAEMON, 'cd /mnt/daemon && ls -R && cat welcome.txt dir/own'),
    '.:\ndir\nsub\nwelcome.txt\n\n./dir:\nown\n\n./sub:\nchanged\nmine\n',
  )
  t.equal(
    await as(BIN, 'cd /mnt/bin && ls -R && cat welcome.txt own'),
    '.:\nmoved\nown\nwelcome.txt\n\n./moved:\na.txt\nwelcomeother\n',
  )
  t.equal(
    await scratch.sh(`ls -R ${quote(join(dir, 'material'))} | wc -l; cat ${quote(join(dir, 'material/welcome.txt'))}`),
    '6\nwelcome',
    'the material is as it was',
  )
})

t.test('no other user of the machine, and not its root, gets into a view', async (t) => {
  for (const [user, other] of [
    [BIN, 'daemon'],
    [DAEMON, 'bin'],
    [{ uid: 0, gid: 0 }, 'bin'],
    [{ uid: 65_534, gid: 65_534 }, 'bin'],
  ] as const) {
    for (const attempt of ['ls VIEW', 'cat VIEW/welcome.txt', 'touch VIEW/new', 'rm VIEW/own', 'chmod 777 VIEW'])
      await t.rejects(
        as(user, attempt.replace('VIEW', `/mnt/${other}`)),
        /[Pp]ermission denied/,
        `${user.uid}: ${attempt}`,
      )
    t.match(await as(user, `stat -c %F /mnt/${other}`), /directory/)
  }
})

t.test('the list of views shows each user the own one, and leads into it', async (t) => {
  await mountNfs(client, at('/course'), '/mnt/course')
  t.equal(await as(DAEMON, 'ls /mnt/course; cat /mnt/course/daemon/welcome.txt'), 'daemon\nchanged\n')
  t.equal(await as(BIN, 'cat /mnt/course/bin/own; cat /mnt/course/bin/moved/a.txt'), 'other\nA')
  await t.rejects(as(BIN, 'cat /mnt/course/daemon/welcome.txt'), /No such file|denied/)
  await t.rejects(as(BIN, 'touch /mnt/course/new'), /Read-only file system|denied/)
})

t.test('davfs2 shows the same views', async (t) => {
  const root = new URL('/', server.webdavUrl).href
  const daemon = await mountDavfs(scratch, 'dav-daemon', `${root}course/~daemon/`)
  const bin = await mountDavfs(scratch, 'dav-bin', `${root}course/~bin/`)
  t.equal(await hostShell(daemon.path)('ls -A | grep -v lost+found; cat dir/own'), 'dir\nsub\nwelcome.txt\nmine\n')
  await hostShell(daemon.path)('echo from-dav > by-davfs && rm welcome.txt')
  await daemon.remount()
  t.equal(await hostShell(bin.path)('ls -A | grep -v lost+found; cat welcome.txt'), 'moved\nown\nwelcome.txt\nwelcome')
  t.equal(
    await as(DAEMON, 'sleep 3; cd /mnt/daemon && cat by-davfs && stat -c %u by-davfs'),
    `from-dav\n${DAEMON.uid}\n`,
  )
  await t.rejects(as(DAEMON, 'cat /mnt/daemon/welcome.txt'), /No such file/)
  await daemon.unmount()
  await bin.unmount()
})

t.test('clients go on when an idle view was closed; a removed one is stale', async (t) => {
  let state = ''
  while (state !== 'closed') state = JSON.parse(await view('show', 'course/daemon', '--json')).state
  t.equal(
    await as(DAEMON, 'cd /mnt/daemon && cat dir/own && echo more >> dir/own && cat dir/own'),
    'mine\nmine\nmore\n',
  )
  t.match(await view('remove', 'course/daemon', '--yes'), /^removed course\/daemon /)
  await t.rejects(as(DAEMON, 'cat /mnt/daemon/dir/own'), /[Ss]tale/)
  t.equal(await as(BIN, 'cat /mnt/bin/own'), 'other\n')
  await client.sh('umount -l /mnt/daemon')
  await mountNfs(client, at('/course/daemon'), '/mnt/daemon')
  t.equal(await as(DAEMON, 'ls /mnt/daemon'), 'sub\nwelcome.txt\n', 'the next mount has a new view')
})
