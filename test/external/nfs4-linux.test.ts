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
