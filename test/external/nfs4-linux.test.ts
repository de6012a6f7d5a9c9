import { join } from 'node:path'
import t from 'tap'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(600_000)
const scratch = makeScratch(t)
const booting = bootKernelClient(scratch)
await scratch.sh('mkdir lower upper work; echo below > lower/file; seq 1000 > lower/numbers; mkdir lower/dir')
const layers = {
  lowerdir: [join(scratch.path, 'lower')],
  upperdir: join(scratch.path, 'upper'),
  workdir: join(scratch.path, 'work'),
}
const overlayd = await startOverlayd(scratch, layers)
const client = await booting

for (const version of ['4.2', '4.1', '4.0']) {
  t.test(`Linux mounts ${version} and works on it`, async (t) => {
    const nfs = await mountNfs(client, overlayd.nfs, `/mnt/v${version}`, [`vers=${version}`])
    t.match(await client.sh('cat /proc/mounts'), `vers=${version}`)
    t.equal(await nfs.sh('cat file'), 'below\n')
    await nfs.sh(
      `mkdir w${version}; cd w${version}; echo 1 > a; echo 2 >> a; mv a b; ln b c; ln -s b d; chmod 640 b; truncate -s 1 c`,
    )
    t.equal(await nfs.sh(`cd w${version}; ls; cat b; stat -c '%a %h %s' b`), 'b\nc\nd\n1640 2 1\n')
    await nfs.sh(`cd w${version}; rm c; rmdir ../dir; mkdir ../dir`)
    await nfs.unmount()
  })
}

/** A lock of a byte range in the words of perl: F_SETLK is 6; F_RDLCK 0, F_WRLCK 1. */
const range = (path: string, type: number, from: number, length: number) =>
  `perl -e 'open(F, "+<", "${path}") or die; my $lock = pack("s s x4 q q i x4", ${type}, 0, ${from}, ${length}, 0); fcntl(F, 6, $lock) or die "refused: $!\\n"; $| = 1; print "locked\\n"; sleep $ARGV[0]'`

t.test('4.2: large files, attributes, holes, copies and locks', async (t) => {
  const nfs = await mountNfs(client, overlayd.nfs, '/mnt/all', ['vers=4.2', 'nconnect=2'])
  const sum = await nfs.sh(
    'head -c 20000003 /dev/urandom > /tmp/big; cp /tmp/big big; cp big copy; sha256sum < /tmp/big',
  )
  await nfs.remount()
  t.equal(await nfs.sh('sha256sum < big'), sum)
  t.equal(await nfs.sh('sha256sum < copy'), sum)
  t.equal(await scratch.sh(`sha256sum < ${join(layers.upperdir, 'copy')}`), sum)
  await nfs.sh('setfattr -n user.colour -v red numbers; setfattr -n user.shape -v round numbers')
  t.match(await nfs.sh('getfattr -d numbers'), /user.colour="red"\nuser.shape="round"/)
  await nfs.sh('setfattr -x user.shape numbers; chown 12:34 numbers; chmod 4751 numbers')
  t.equal(await nfs.sh("stat -c '%u %g %a' numbers"), '12 34 4751\n')
  await nfs.sh('perl -e \'open(F, "+<", "big") or die; syscall(285, fileno(F), 3, 1048576, 4194304) == 0 or die "$!"\'')
  t.equal(await scratch.sh(`stat -c %s ${join(layers.upperdir, 'big')}`), '20000003\n')
  t.equal(
    await nfs.sh('perl -e \'open(F, "<", "big") or die; print sysseek(F, 0, 4), " ", sysseek(F, 1048576, 3), "\\n"\''),
    '1048576 5242880\n',
  )
  await nfs.sh(
    `(${range('file', 1, 0, 100)} 100 > /tmp/held & echo $! > /tmp/holder); while ! grep -q locked /tmp/held; do sleep 0.1; done`,
  )
  await t.rejects(nfs.sh(`${range('file', 0, 50, 10)} 0`), /refused/)
  t.equal(await nfs.sh(`${range('file', 1, 100, 10)} 0`), 'locked\n')
  await nfs.sh(
    'kill $(cat /tmp/holder); for n in $(seq 50); do [ -d /proc/$(cat /tmp/holder) ] || break; sleep 0.1; done',
  )
  t.equal(await nfs.sh(`${range('file', 0, 50, 10)} 0`), 'locked\n')
  t.equal(
    await nfs.sh('exec 3<> file; rm file; echo kept >&3; cat /proc/self/fd/3; exec 3>&-; ls -a | grep -c nfs || true'),
    'kept\n\n0\n',
  )
  await nfs.unmount()
})

t.test('without options the client mounts the latest version, by the root over all exports too', async (t) => {
  await client.sh(`mkdir -p /mnt/root; mount.nfs 10.0.2.2:/ /mnt/root -o retry=0,port=${overlayd.nfs.port}`)
  t.match(await client.sh('grep /mnt/root /proc/mounts'), /vers=4.2/)
  t.equal(await client.sh('ls /mnt/root; cat /mnt/root/overlay/numbers | wc -l'), 'overlay\n1000\n')
  t.match(await client.sh('grep "/mnt/root/overlay" /proc/mounts'), /vers=4.2/)
  await client.sh('umount /mnt/root/overlay; umount /mnt/root')
})
