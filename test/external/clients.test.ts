import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DAVFS_DEFAULTS, mountDavfs } from './helpers/davfs.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote } from './helpers/shell.ts'

t.setTimeout(600_000)
const scratch = makeScratch(t)
const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(scratch.path, name)) as [
  string,
  string,
  string,
]
await scratch.sh(`
  mkdir -p ${lower}/docs/deep ${lower}/shared ${upper} ${work} outside/tree/sub
  echo report > ${lower}/docs/report.txt; echo deep > ${lower}/docs/deep/file; echo notes > ${lower}/shared/notes
  seq 1 100000 > outside/tree/numbers; echo 'ü #1 100%' > 'outside/tree/sub/ü #1 100%.txt'; : > outside/tree/empty
  touch -d '2001-02-03 04:05:06.789' outside/tree/numbers; touch -d '2010-01-01 00:00:00' 'outside/tree/sub/ü #1 100%.txt'`)
const outside = join(scratch.path, 'outside')
const overlayd = await startOverlayd(scratch, { lowerdir: [lower], upperdir: upper, workdir: work })
const url = overlayd.webdavUrl

t.test('curl: uploads, ranges, resuming, conditions, moving and deleting', async (t) => {
  const curl = (words: string) => scratch.sh(`curl -sS --fail-with-body ${words}`)
  const status = (words: string) => scratch.sh(`curl -sS -o /dev/null -w '%{http_code}' ${words}`)
  await curl(`-T outside/tree/numbers ${url}numbers`)
  t.equal(await curl(`-r 0-3 ${url}numbers | tr '\\n' ,`), '1,2,')
  await scratch.sh(
    `head -c 1000 outside/tree/numbers > partial; curl -sS -C - -o partial ${url}numbers; cmp partial outside/tree/numbers`,
  )
  t.equal(await status(`-T outside/tree/empty -H 'If-None-Match: *' ${url}numbers`), '412')
  t.equal(await curl(`-T - ${url}piped < <(seq 1 9) && curl -sS ${url}piped | tail -n 1`), '9\n')
  t.equal(await status(`-X MOVE -H 'Destination: ${url}moved' ${url}piped`), '201')
  t.equal(await status(`-X DELETE ${url}moved`), '204')
  t.equal(await status(`${url}moved`), '404')
  await curl(`-o docs.zip '${url}docs/?archive=zip' && curl -sS '${url}docs?archive=tar.gz' | tar xz -C outside`)
  t.equal(await scratch.sh('cat outside/docs/deep/file'), 'deep\n')
})

t.test('cadaver: a session of its commands', async (t) => {
  const session = [
    ...[`open ${url}`, 'mkcol cadaver', 'cd cadaver', `put ${outside}/tree/numbers numbers`, 'ls', 'copy numbers copy'],
    ...[
      'lock copy',
      'discover copy',
      'propset copy author somebody',
      'propget copy author',
      'unlock copy',
      'move copy moved',
    ],
    ...[`get moved ${outside}/back`, 'delete numbers', 'ls', 'quit'],
  ]
  const said = await scratch.sh(`HOME=${scratch.path} cadaver <<'END'\n${session.join('\n')}\nEND`)
  t.notMatch(said, /fail|error/i)
  t.match(said, /Value of author is: somebody/)
  await scratch.sh(`cmp ${outside}/back ${outside}/tree/numbers`)
  t.equal(await scratch.sh(`ls ${upper}/cadaver`), 'moved\n')
})

t.test('rclone: copy, check and bisync keep content and modification times', async (t) => {
  const remote = (path: string) => `:webdav,url='${url}',vendor=owncloud:${path}`
  const rclone = (words: string) => scratch.sh(`HOME=${scratch.path} rclone --config ${scratch.path}/none -q ${words}`)
  await rclone(`copy outside/tree ${quote(remote('rclone'))}`)
  await rclone(`check outside/tree ${quote(remote('rclone'))}`)
  t.equal(await scratch.sh(`stat -c %Y ${upper}/rclone/numbers`), `${Date.parse('2001-02-03T04:05:06Z') / 1000}\n`)
  await rclone(`copy ${quote(remote('rclone'))} back`)
  await scratch.sh('diff -r outside/tree back; [ "$(stat -c %Y back/numbers)" = "$(stat -c %Y outside/tree/numbers)" ]')
  const bisync = (more = '') =>
    rclone(`bisync ${more} --workdir ${scratch.path}/bisync back ${quote(remote('rclone'))}`)
  await bisync('--resync')
  await scratch.sh(
    `echo here > back/from-here; rm back/empty; curl -sS -T outside/tree/numbers ${url}rclone/from-there`,
  )
  await bisync()
  for (const folder of ['back', join(upper, 'rclone')]) {
    t.equal(await scratch.sh(`ls ${folder}`), 'from-here\nfrom-there\nnumbers\nsub\n')
  }
  t.equal(readFileSync(join(upper, 'rclone/from-here'), 'utf8'), 'here\n')
})

t.test('gio, as GNOME Files does it: mounts, lists, reads, copies, saves, renames, moves and deletes', async (t) => {
  const dav = url.replace('http:', 'dav:')
  await scratch.sh(`mkdir -p -m 700 runtime/gvfsd
    cat > session <<'END'
set -euo pipefail
gio mount '${dav}'
gio mkdir '${dav}gio'
gio copy outside/tree/numbers '${dav}gio/numbers'
gio list '${dav}gio'
gio copy '${dav}gio/numbers' gio-back
gio move '${dav}gio/numbers' '${dav}gio/moved'
gio info -a standard::size '${dav}gio/moved'
gio rename '${dav}gio/moved' 'new name #1'
gio list '${dav}gio'
echo saved | gio save '${dav}docs/report.txt'
gio cat '${dav}docs/report.txt'
gio copy '${dav}docs/deep/file' '${dav}gio/copied'
gio remove '${dav}gio/new%20name%20%231'
gio mount -u '${dav}'
END`)
  const home = `HOME=${scratch.path} XDG_RUNTIME_DIR=${scratch.path}/runtime GIO_USE_VFS=gvfs`
  const said = await scratch.sh(
    `${home} timeout 120 dbus-run-session -- bash session 2> gio-errors || { cat gio-errors; exit 1; }`,
  )
  t.match(said, /^numbers\n/)
  t.match(said, /size: {2}588895\n/)
  t.match(said, /new name #1\nsaved\n$/)
  await scratch.sh('cmp gio-back outside/tree/numbers')
  t.equal(await scratch.sh(`ls ${upper}/gio; cat ${upper}/docs/report.txt`), 'copied\nsaved\n')
})

t.test(
  'davfs2 as it comes, with locks: of two mounts that edit one file the second does not overwrite the first',
  async (t) => {
    const first = await mountDavfs(scratch, 'first', url, undefined, [...DAVFS_DEFAULTS, 'lock_owner first'])
    const second = await mountDavfs(scratch, 'second', url, undefined, [...DAVFS_DEFAULTS, 'lock_owner second'])
    const [one, two] = [hostShell(first.path), hostShell(second.path)]
    await two('cat shared/notes')
    // davfs2 takes over a lock whose owner has its own name, so each user needs another one. The lock is taken at open and held until the upload after close. davfs2 lets the second one write, but does not upload what it could not lock.
    await one('exec 3>> shared/notes; echo from one >&3; echo from two >> ../second/shared/notes || :')
    await second.unmount()
    await first.unmount()
    t.equal(readFileSync(join(upper, 'shared/notes'), 'utf8'), 'notes\nfrom one\n')
    const third = await mountDavfs(scratch, 'third', url, undefined, DAVFS_DEFAULTS)
    await hostShell(third.path)('echo from three >> shared/notes')
    await third.unmount()
    t.equal(
      readFileSync(join(upper, 'shared/notes'), 'utf8'),
      'notes\nfrom one\nfrom three\n',
      'no lock is left behind',
    )
  },
)

t.test(
  'davfs2 as it comes: an append right after the creation, and a cache on disk that is taken up again',
  async (t) => {
    const mounted = await mountDavfs(scratch, 'cached', url, undefined, DAVFS_DEFAULTS)
    const sh = hostShell(mounted.path)
    await sh('for n in $(seq 1 10); do echo a > "quick-$n"; echo b >> "quick-$n"; done; cat docs/report.txt')
    await mounted.reopen()
    t.equal(await sh('cat quick-* | sort | uniq -c | tr -s " "'), ' 10 a\n 10 b\n')
    t.equal(await scratch.sh(`cat ${upper}/quick-* | wc -l`), '20\n')
    await mounted.unmount()
    // Of the same length and in the same second as what the cache holds: only the entity tag tells.
    await scratch.sh(`printf 'REPORT\\n' | curl -sS -T - ${url}docs/report.txt; curl -sS -X DELETE ${url}quick-1`)
    await mounted.reopen()
    t.equal(await sh('cat docs/report.txt; ls quick-1 2> /dev/null || echo gone'), 'REPORT\ngone\n')
    await mounted.unmount()
  },
)
