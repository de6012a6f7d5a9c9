import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(300_000)
const scratch = makeScratch(t)
const top = fileURLToPath(new URL('../..', import.meta.url))

t.test('the Debian package installs into a system of its own, runs there, and leaves it again', async (t) => {
  const built = (await scratch.sh(`env -u NODE_OPTIONS ${top}/deploy/debian/build --fast ${scratch.path}`)).trim()
  t.match(built, /overlayd_[\d.]+-\d+_\w+\.deb$/)
  const fields = await scratch.sh(`dpkg-deb --info ${built}`)
  t.match(fields, / Package: overlayd\n/)
  // A copy of this system that takes changes, in a mount namespace of its own.
  const root = join(scratch.path, 'root')
  const said = await scratch.sh(
    `unshare --mount --propagation private bash -euxo pipefail -c '
      mkdir ${root}; mount -t tmpfs tmpfs ${root}; mkdir ${root}/upper ${root}/work ${root}/all
      mount -t overlay overlay -o lowerdir=/,upperdir=${root}/upper,workdir=${root}/work ${root}/all
      cp ${built} ${root}/all/overlayd.deb
      mount -t proc proc ${root}/all/proc; mount -t devtmpfs dev ${root}/all/dev 2>/dev/null || mount --rbind /dev ${root}/all/dev
      mount -t tmpfs tmpfs ${root}/all/run
      chroot ${root}/all bash -euo pipefail -c "
        dpkg --install --force-depends /overlayd.deb
        getent passwd overlayd
        stat -c \\"%a %U:%G\\" /etc/overlayd
        overlayd --version
        man -w overlayd overlayd.toml
        bash -c \\"source /usr/share/bash-completion/completions/overlayd && complete -p overlayd\\"
        overlayd --sample --webdav 127.0.0.1:0 --nfs off --ready-file /ready > /printed &
        until [ -e /ready ]; do sleep 0.05; done
        cat /ready
        curl -sS \\$(grep -o http://[^\\\\\\"]* /ready)bin/hello
        overlayd status | head -1
        kill %1; wait %1
        dpkg --purge --force-depends overlayd
        [ ! -e /usr/bin/overlayd ] && [ ! -e /usr/lib/overlayd ] && echo it is gone
      "' 2>&1`,
    200_000,
  )
  for (const expected of [
    /write \/etc\/overlayd\/overlayd\.toml, then: systemctl enable --now overlayd/,
    /^overlayd:x:\d+:\d+:overlayd file server,*:\/var\/lib\/overlayd:/m,
    /^750 root:overlayd$/m,
    /^overlayd \d+\.\d+\.\d+$/m,
    /man1\/overlayd\.1\.gz/,
    /man5\/overlayd\.toml\.5\.gz/,
    /complete -F _overlayd overlayd/,
    /^#!\/bin\/sh/m,
    /\/var\/lib\/overlayd is left/,
    /^it is gone$/m,
  ])
    t.match(said, expected)
})
