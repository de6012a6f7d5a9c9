import { chmodSync, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { course } from '../server/course.ts'
import { run } from '../server/launch.ts'
import { mountDavfs } from './helpers/davfs.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote } from './helpers/shell.ts'

t.setTimeout(600_000)
const scratch = makeScratch(t)
// alice by htpasswd, bob by overlayd: both kinds of hashes.
await scratch.sh(`
  mkdir outside && seq 1 100000 > outside/numbers && echo one > outside/one
  htpasswd -cbB users alice pw-alice 2> /dev/null; chmod 600 users
  echo pw-bob | ${quote(process.execPath)} ${quote(join(import.meta.dirname, '../../server/overlayd.cjs'))} user add bob --file users`)
const { dir, server } = await course(t, {
  tables: '[login]\nsources = ["file"]\npassword_file = "users"\nids = ["100000-199999"]\n',
  prepare: (at) => {
    copyFileSync(join(scratch.path, 'users'), join(at, 'users'))
    chmodSync(join(at, 'users'), 0o600)
  },
})
const url = server.webdavUrl as string

/** Makes an app password. */
async function appPassword(...words: string[]): Promise<string> {
  return (await run(['token', 'make', ...words, '--state-dir', join(dir, 'state')])).stdout.trim()
}

t.test('the mount command that the server prints is for the view of the user', async (t) => {
  t.match(url, /\/course\/$/)
})

t.test('curl: a password in the URL, in a netrc file and by -u; without one it is told what is missing', async (t) => {
  const curl = (words: string) => scratch.sh(`curl -sS -o /dev/null -w '%{http_code}' ${words}`)
  t.equal(await curl(`-u alice:pw-alice -T outside/one ${url}one`), '201')
  t.equal(await curl(`${url.replace('//', '//alice:pw-alice@')}one`), '200')
  await scratch.sh(`printf 'machine 127.0.0.1 login alice password pw-alice' > netrc`)
  t.equal(await curl(`--netrc-file netrc ${url}one`), '200')
  t.equal(await curl(`-u bob:pw-bob ${url}one`), '404')
  t.equal(await curl(`${url}one`), '401')
  t.equal(await curl(`-u alice:pw-bob ${url}one`), '401')
  t.equal(await curl(`--anyauth -u alice:pw-alice -T outside/numbers ${url}numbers`), '201', 'asked only when refused')
  t.equal(await curl(`-H 'Expect: 100-continue' -T outside/numbers ${url}refused`), '401')
})

t.test('davfs2 takes the password from its secrets file', async (t) => {
  const login = { name: 'alice', password: 'pw-alice' }
  const mounted = await mountDavfs(scratch, 'alice', url, 1, undefined, login)
  const sh = hostShell(mounted.path)
  t.equal(await sh('cat one welcome.txt'), 'one\nwelcome')
  await sh('mkdir davfs; echo text > davfs/file; mv one davfs/moved')
  await mounted.remount()
  t.equal(await sh('cat davfs/file davfs/moved'), 'text\none\n')
  await mounted.unmount()
})

t.test('davfs2 does not mount with a wrong password, and an expired app password ends a mount', async (t) => {
  const wrong = { name: 'alice', password: 'pw-wrong' }
  await t.rejects(mountDavfs(scratch, 'wrong', url, 1, undefined, wrong), /[Cc]ould not authenticate|401|Unauthorized/)
  const password = await appPassword('bob', 'davfs', '--expires', '8s')
  const madeMs = Date.now()
  const mounted = await mountDavfs(scratch, 'expiring', url, 1, undefined, { name: 'bob', password })
  const sh = hostShell(mounted.path)
  t.equal(await sh('cat welcome.txt'), 'welcome')
  await setTimeout(Math.max(0, madeMs + 8500 - Date.now()))
  await t.rejects(sh('ls sub && cat sub/a.txt'), 'what it has not seen stays closed')
  await mounted.unmount()
  await t.rejects(mountDavfs(scratch, 'expired', url, 1, undefined, { name: 'bob', password }))
})

t.test('rclone copies and checks with Basic, and a read-only app password changes nothing', async (t) => {
  const remote = (name: string, password: string) =>
    `:webdav,url='${url}',vendor=owncloud,user=${name},pass=$(rclone obscure ${quote(password)}):rclone`
  const rclone = (words: string) => scratch.sh(`HOME=${scratch.path} rclone --config none -q --retries 1 ${words}`)
  await rclone(`copy outside "${remote('alice', 'pw-alice')}"`)
  await rclone(`check outside "${remote('alice', 'pw-alice')}"`)
  const reading = await appPassword('alice', 'reader', '--read-only')
  await rclone(`check outside "${remote('alice', reading)}"`)
  await t.rejects(rclone(`copyto outside/one "${remote('alice', reading)}/new"`))
  await t.rejects(rclone(`ls "${remote('alice', 'pw-wrong')}"`), /401/)
})

t.test('curl and rclone use links: one to read, with a password, and one to which files are added', async (t) => {
  const origin = new URL(url).origin
  const link = async (...words: string[]) =>
    `${origin}${await appPassword('alice', 'a link', '--link', '--view', 'course', '--path', 'rclone', ...words)}`
  const status = (words: string) => scratch.sh(`curl -sS -o /dev/null -w '%{http_code}' ${words}`)
  const reading = await link()
  t.equal(await scratch.sh(`curl -sS ${reading}one`), 'one\n')
  t.equal(await status(`-T outside/one ${reading}other`), '403')
  await scratch.sh(
    `HOME=${scratch.path} rclone --config none -q check outside ":webdav,url='${reading}',vendor=owncloud:"`,
  )
  const dropping = await link('--drop-only')
  await scratch.sh('cp outside/one test-file')
  t.equal(await status(`-T test-file ${dropping}`), '201', 'under its own name')
  t.equal(await status(`${dropping}test-file`), '403')
  t.equal(await status(`-T outside/numbers ${dropping}test-file`), '412')
})

t.test('cadaver logs in by netrc', async (t) => {
  await scratch.sh('mkdir -p home && cp netrc home/.netrc && chmod 600 home/.netrc')
  const cadaver = (commands: string) => scratch.sh(`HOME=${scratch.path}/home cadaver <<'END'\n${commands}\nquit\nEND`)
  const said = await cadaver(
    `open ${url}\nmkcol cadaver\ncd cadaver\nput ${scratch.path}/outside/one one\nlock one\nunlock one\nls`,
  )
  t.notMatch(said, /fail|error/i)
  t.equal(await scratch.sh(`curl -sS -u alice:pw-alice ${url}cadaver/one`), 'one\n')
})

t.test('gio, as GNOME Files does it, asks for a name and a password', async (t) => {
  const dav = url.replace('http:', 'dav:')
  await scratch.sh(`mkdir -p -m 700 runtime/gvfsd
    cat > session <<'END'
set -euo pipefail
printf 'alice\\npw-alice\\n' | gio mount '${dav}'
gio cat '${dav}welcome.txt'
gio copy outside/one '${dav}gio-one'
gio list '${dav}'
gio mount -u '${dav}'
END`)
  const home = `HOME=${scratch.path} XDG_RUNTIME_DIR=${scratch.path}/runtime GIO_USE_VFS=gvfs`
  const said = await scratch.sh(
    `${home} timeout 120 dbus-run-session -- bash session 2> gio-errors || { cat gio-errors; exit 1; }`,
  )
  t.match(said, /welcome/)
  t.match(said, /^(welcome)?gio-one$/m)
})
