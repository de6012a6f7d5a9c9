import { join } from 'node:path'
import t from 'tap'
import { mountDavfs } from './helpers/davfs.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountKernelOverlay } from './helpers/kernel-overlay.ts'
import { makeLayers, watchLowers } from './helpers/layers.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { attempts, changeTree } from './helpers/operations.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote, type Shell } from './helpers/shell.ts'
import { differences, hideTimesSince, insidesShown, type Snapshot, snapshot } from './helpers/snapshot.ts'

t.setTimeout(1_200_000)
const scratch = makeScratch(t)
const booting = bootKernelClient(scratch)
const layers = await makeLayers(scratch, 'layers', { names: 'bytes', archive: true })
const startSec = Math.floor(Date.now() / 1000)
const lowersChanged = await watchLowers(scratch, layers)
// The same changes made through the kernel's own overlay of the same lowers say what is right.
await scratch.sh(`mkdir reference-upper reference-work && touch -r ${quote(layers.upperdir)} reference-upper`)
const reference = await mountKernelOverlay(scratch, 'reference', {
  lowerdir: layers.lowerdir,
  upperdir: join(scratch.path, 'reference-upper'),
  workdir: join(scratch.path, 'reference-work'),
})
const referenceSh = hostShell(reference.path)
let overlayd = await startOverlayd(scratch, layers)
const client = await booting
const nfs = await mountNfs(client, overlayd.nfs, '/mnt/overlay')

/** What the tree of the NFS mount has otherwise than the reference, times set by a clock apart. */
async function differencesFromReference(options: { contents: boolean }): Promise<string[]> {
  const [expected, actual] = await Promise.all([
    snapshot(scratch.sh, reference.path, options),
    snapshot(client.sh, nfs.path, options),
  ])
  return differences(hideTimesSince(expected, startSec), hideTimesSince(actual, startSec))
}

t.test('every name, attribute, time and content of the lowers shows on the mount', async (t) => {
  t.same(await differencesFromReference({ contents: true }), [])
})

t.test('changes of every kind leave the tree that the kernel overlay has after the same changes', async (t) => {
  await referenceSh(changeTree)
  await nfs.sh(changeTree, 300_000)
  t.same(await differencesFromReference({ contents: false }), [], 'as the client has it cached')
  await nfs.remount()
  t.same(await differencesFromReference({ contents: true }), [], 'as the server has it')
})

t.test('somebody else than root may do exactly what the kernel overlay lets them do', async (t) => {
  const asSomebody = (sh: Shell) => sh(`setpriv --reuid 1234 --regid 5678 --clear-groups sh -c ${quote(attempts)}`)
  const printed = await asSomebody(nfs.sh)
  t.equal(printed, await asSomebody(referenceSh))
  t.match(printed, /^done: (.|\n)*^refused: /m)
  t.same(await differencesFromReference({ contents: false }), [])
})

t.test(
  'a file keeps its number through copy-up and rename, and a directory its place under a working client',
  async (t) => {
    const before = await nfs.sh('stat -c %i archive.tar one/2/3/tree-again')
    await nfs.sh('echo tail >> archive.tar; mv archive.tar archive-moved.tar; mv one/2/3/tree-again tree-moved')
    await nfs.remount()
    t.equal(await nfs.sh('stat -c %i archive-moved.tar tree-moved'), before)
    t.equal(
      await nfs.sh(
        'cd unpacked/archive/200; mv ../../../unpacked ../../../elsewhere; echo 1 > here; cat numbers | wc -l; ls',
      ),
      '801\nhere\nlink\nnumbers\n',
    )
  },
)

t.test('a removed file stays readable and writable while it is open', async (t) => {
  t.equal(
    await nfs.sh(`echo one > open; exec 3<> open; rm open; echo two >&3; [ ! -e open ]; cat /proc/self/fd/3; exec 3>&-
      exec 4< hole/sparse; rm hole/sparse; head -c 2000006 <&4 | tail -c 6; exec 4<&-; ls -a hole`),
    'two\nMIDDLE.\n..\n',
  )
})

t.test('64 MiB written come back the same', async (t) => {
  const sum = await nfs.sh('head -c 67108864 /dev/urandom > /tmp/big; cp /tmp/big big; sha256sum < /tmp/big', 300_000)
  await nfs.remount()
  t.equal(await nfs.sh('sha256sum < big; rm /tmp/big', 300_000), sum)
  t.equal(await scratch.sh(`sha256sum < ${quote(layers.upperdir)}/big`), sum)
})

t.test('statfs tells of the file system of the upper', async (t) => {
  const total = (text: string) =>
    text
      .trim()
      .split(' ')
      .map(Number)
      .reduce((a, b) => a * b)
  const [shown, real] = [
    await nfs.sh('stat -f -c "%b %S" .'),
    await scratch.sh(`stat -f -c '%b %S' ${quote(layers.upperdir)}`),
  ]
  t.ok(Math.abs(total(shown) - total(real)) < 2 ** 21, `${shown} against ${real}`)
  t.match(await nfs.sh('df -P . | tail -n 1'), /10\.0\.2\.2:\/overlay +\d+ +\d+ +\d+ +\d+% +\/mnt\/overlay/)
})

t.test('both doors show what is done at the other', async () => {
  const davfs = await mountDavfs(scratch, 'davfs', overlayd.webdavUrl)
  const davSh = hostShell(davfs.path)
  const soon = (condition: string) => `for n in $(seq 1 200); do ! ${condition} || exit 0; sleep 0.1; done; exit 1`
  await davSh('mkdir from-dav && echo "by WebDAV" > from-dav/file && mv renamed/only-base from-dav/base')
  await nfs.sh(soon('[ "$(cat from-dav/file from-dav/base 2>&1)" = "$(printf \'by WebDAV\\nbase\')" ]'))
  await nfs.sh('echo "by NFS" >> from-dav/file; mv from-dav from-both; echo more > from-both/more')
  await davSh(soon('[ "$(cat from-both/file from-both/more 2>&1)" = "$(printf \'by WebDAV\\nby NFS\\nmore\')" ]'))
  await davSh('rm -r from-both/more; echo rewritten > from-both/file')
  await nfs.sh(soon('[ "$(cat from-both/file; ls from-both)" = "$(printf \'rewritten\\nbase\\nfile\')" ]'))
  await davfs.unmount()
})

t.test('a client with a working directory and an open file goes on after the server was started anew', async (t) => {
  await nfs.sh(`mkfifo /tmp/go
    (cd one/2; exec 3< ../../elsewhere/archive/101/numbers 4>> ../../top-file; : > /tmp/holding; read -r _ < /tmp/go
      tail -n 1 <&3; ls; echo later >&4; mkdir made; mv made ../made; ls ..; : > /tmp/done) > /tmp/held 2>&1 &
    while [ ! -e /tmp/holding ]; do sleep 0.1; done`)
  await overlayd.stop()
  overlayd = await startOverlayd(scratch, layers, { nfsPort: overlayd.nfs.port })
  await client.sh(`echo 3 > /proc/sys/vm/drop_caches; echo go > /tmp/go
    for n in $(seq 1 600); do [ ! -e /tmp/done ] || break; sleep 0.1; done`)
  t.equal(await client.sh('cat /tmp/held'), '1000\n3\n2\nmade\n')
  t.equal(await nfs.sh('cat top-file'), 'later\n')
})

t.test('the printed commands name what clients need', async (t) => {
  const { port } = overlayd.nfs
  t.match(overlayd.printed(), `mount -t nfs -o vers=3,tcp,nolock,port=${port},mountport=${port} 127.0.0.1:/overlay /`)
  t.match(overlayd.printed(), `mount -t davfs ${overlayd.webdavUrl} /`)
  await client.sh(`mkdir /mnt/printed
    mount.nfs 10.0.2.2:/overlay /mnt/printed -o vers=3,tcp,nolock,port=${port},mountport=${port}
    [ -d /mnt/printed/one ]; umount /mnt/printed`)
})

t.test('afterwards the lowers are as they were and the kernel shows the tree that the client saw', async (t) => {
  await nfs.remount()
  const seen = await snapshot(client.sh, nfs.path)
  t.same(insidesShown(seen), [])
  await nfs.unmount()
  await overlayd.stop()
  t.same(await lowersChanged(), [])
  for (const index of ['index=off', 'index=on']) {
    const kernel = await mountKernelOverlay(scratch, 'kernel', layers, ['redirect_dir=on', index, 'metacopy=off'])
    const shown = await snapshot(scratch.sh, kernel.path)
    t.same(insidesShown(shown), [])
    // Which names a file of a lower has in common with a changed one is in the index alone, as with an upper of the kernel's own.
    const linked = (path: string) => Number(seen.get(path)?.nlink) > 1 && seen.get(path)?.type === 'f'
    const told = (tree: Snapshot) => new Map([...tree].filter(([path]) => index === 'index=on' || !linked(path)))
    t.same(differences(told(shown), told(seen)), [], index)
    await kernel.unmount()
  }
  t.same(await lowersChanged(), [])
})

/**
 * An ordinary user opens three files, waits, and changes each by its descriptor; waits again, and changes the mode once more. It prints what
 * was refused.
 */
const holder = `
$| = 1;
my @names = qw(saved gone of-root);
my %file;
for (@names) { open($file{$_}, $_ eq 'of-root' ? '<' : '+<', "held/$_") or die "$_: $!" }
sub try { my ($what, $done) = @_; print "$what: $!
" unless $done }
sub pause { my ($phase) = @_; open(my $ready, '>', "/tmp/ready-$phase"); close $ready; open(my $go, '<', "/tmp/go-$phase"); <$go> }
pause(1);
for (@names) {
  my ($file, $text) = ($file{$_}, '');
  try("$_ read", sysread($file, $text, 9) == 3 && $text eq 'old');
  if ($_ ne 'of-root') {
    try("$_ write", sysseek($file, 0, 0) && syswrite($file, 'OLDER'));
    try("$_ truncate", truncate($file, 4));
    try("$_ link", system('ln', '-L', "/proc/$$/fd/" . fileno($file), "held/$_-again") == 0);
  }
  try("$_ chown", chown(1234, 2000, $file));
  try("$_ chmod", chmod(04777, $file));
  try("$_ utime", utime(5, 6, $file));
}
pause(2);
for (@names) { try("$_ chmod", chmod(0640, $file{$_})); try("$_ close", close($file{$_})) }
`

t.test('what is done by an open file whose name another client took is done to that file, as by knfsd', async (t) => {
  const others = await makeLayers(scratch, 'taken', { names: 'bytes', small: true })
  // Each has another name, which nobody looks up.
  await scratch.sh(`cd ${quote(others.upperdir)}; mkdir held other
    for name in saved gone of-root; do printf old > held/$name; ln held/$name other/$name; done
    chown -R 1234:5678 held; chown 0:0 held/of-root; chmod 644 held/*`)
  let server = await startOverlayd(scratch, others)
  // With one cache for both the client itself would know of the change.
  const one = await mountNfs(client, server.nfs, '/mnt/one', ['nosharecache'])
  const two = await mountNfs(client, server.nfs, '/mnt/two', ['nosharecache'])
  const onDisk = (names: string) =>
    scratch.sh(
      `cd ${quote(others.upperdir)}; for name in ${names}; do stat -c '%a %u:%g %Y %s %h' $name; cat $name; echo; done`,
    )
  const reached = (file: string) => `for n in $(seq 1 300); do [ ! -e ${file} ] || exit 0; sleep 0.1; done; exit 1`
  await client.sh(`cat > /tmp/holder.pl << 'END'\n${holder}END\nmkfifo /tmp/go-1 /tmp/go-2`)
  await one.sh(`(setpriv --reuid 1234 --regid 5678 --groups 2000 perl /tmp/holder.pl > /tmp/refused 2>&1; : > /tmp/ended) &
    ${reached('/tmp/ready-1')}`)
  await two.sh(`printf fresh > held/.tmp; chmod 600 held/.tmp; mv -f held/.tmp held/saved; rm -f held/gone
    printf fresh > held/.tmp; chmod 600 held/.tmp; chown 1234:5678 held/.tmp; mv -f held/.tmp held/of-root`)
  const before = await onDisk('held/saved held/of-root other/of-root')
  await client.sh(`echo go > /tmp/go-1; ${reached('/tmp/ready-2')}`)
  t.equal(
    await onDisk('held/saved held/of-root other/of-root'),
    before,
    'the files that have the names are as they were',
  )
  t.equal(await onDisk('other/saved other/gone'), '4777 1234:2000 6 4 2\nOLDE\n'.repeat(2))
  t.equal(
    await scratch.sh(`cd ${quote(others.upperdir)}; stat -c %i held/saved-again held/gone-again`),
    await scratch.sh(`cd ${quote(others.upperdir)}; stat -c %i other/saved other/gone`),
  )
  await server.stop()
  server = await startOverlayd(scratch, others, { nfsPort: server.nfs.port })
  await client.sh(`echo go > /tmp/go-2; ${reached('/tmp/ended')}`)
  t.equal(await onDisk('held/saved held/of-root other/of-root'), before, 'nor after a restart')
  t.equal(await onDisk('other/saved other/gone'), '640 1234:2000 6 4 2\nOLDE\n'.repeat(2))
  const refused = (what: string) => `of-root ${what}: Operation not permitted\n`
  t.equal(await client.sh('cat /tmp/refused'), ['chown', 'chmod', 'utime', 'chmod'].map(refused).join(''))
  await one.unmount()
  await two.unmount()
  await server.stop()
})

t.test('with the default export root is nobody', async (t) => {
  const others = await makeLayers(scratch, 'squashed', { names: 'bytes', small: true })
  const server = await startOverlayd(scratch, others, { exports: '127.0.0.1(rw,root_squash,insecure,sync)' })
  const squashed = await mountNfs(client, server.nfs, '/mnt/squashed')
  t.equal(
    await squashed.sh(`refused() { if sh -c "$1" 2> /dev/null; then echo "done: $1"; fi; }
      refused 'touch made'; refused 'echo x >> plain/text'; refused 'chmod 777 plain'; refused 'cat modes/0400'; refused 'ls modes/closed'
      echo mine > modes/sticky/mine; cat modes/sticky/mine modes/0444; stat -c '%u %g' modes/sticky/mine`),
    'mine\n0444\n65534 65534\n',
  )
  await squashed.unmount()
  await server.stop()
})
