import { renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Issued } from '../../server/cert/certificates.ts'
import { TestAuthority, writePair } from '../helpers/certificates.ts'
import { BIN, course, DAEMON } from '../server/course.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { makeScratch } from './helpers/scratch.ts'
import type { Shell } from './helpers/shell.ts'

t.setTimeout(600_000)

const scratch = makeScratch(t)
const cacheHome = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
const cache = process.env.KERNEL_CLIENT_CACHE ?? join(cacheHome, 'overlayd-kernel-client')
const authority = await TestAuthority.make()
const [server, daemon, bin] = await Promise.all([
  authority.server(['server']),
  authority.client('user', 'daemon'),
  authority.client('user', 'bin'),
])
const none = await authority.revoke()

const TLS = '[tls]\ncertificate = "server.pem"\nkey = "server.key"\nclient_ca = "ca.pem"\nrevoked = "revoked.pem"\n'

/** A course that wants TLS; on `port` again, for a server that was killed. */
async function secureCourse(t: Test, again?: { readonly dir: string; readonly port: number }) {
  return await course(t, {
    ...(again && { dir: again.dir, nfsListen: `127.0.0.1:${again.port}` }),
    clients: '127.0.0.0/8(rw,root_squash,insecure,xprtsec=tls:mtls)',
    tables: TLS,
    prepare(dir) {
      writePair(dir, 'server', server)
      writeFileSync(join(dir, 'ca.pem'), authority.cert)
      writeFileSync(join(dir, 'revoked.pem'), none)
    },
  })
}

/** Starts the daemon that does handshakes for the kernel, with a certificate or without. */
async function startTlshd(sh: Shell, pair?: Issued): Promise<void> {
  const write = (path: string, text: string) => `cat > /tls/etc/${path} << 'END'\n${text}END\n`
  const own = 'x509.certificate=/etc/client.pem\nx509.private_key=/etc/client.key\n'
  const client = `[authenticate.client]\nx509.truststore=/etc/ca.pem\n${pair === undefined ? '' : own}`
  await sh(
    [
      'if [ -e /tmp/tlshd.pid ]; then kill $(cat /tmp/tlshd.pid); while kill -0 $(cat /tmp/tlshd.pid) 2> /dev/null; do sleep 0.1; done; fi',
      'rm -f /tmp/tlshd.log',
      'grep -q server /etc/hosts || echo "10.0.2.2 server" >> /etc/hosts',
      'for d in dev proc sys; do mountpoint -q /tls/$d || mount -o bind /$d /tls/$d; done',
      'cp /etc/hosts /etc/nsswitch.conf /etc/passwd /etc/group /tls/etc/',
      write('ca.pem', authority.cert),
      pair === undefined ? '' : write('client.pem', pair.cert) + write('client.key', pair.key),
      'chmod 600 /tls/etc/client.key 2> /dev/null || true',
      write('tlshd.conf', `[debug]\nloglevel=1\n[authenticate]\n${client}[authenticate.server]\n`),
      '(chroot /tls /usr/sbin/tlshd -s > /tmp/tlshd.log 2>&1 & echo $! > /tmp/tlshd.pid)',
      // It says that it is there before it listens.
      'until grep -q Built /tmp/tlshd.log; do sleep 0.2; done; sleep 2',
    ].join('\n'),
  )
}

function mount(port: number, path: string, xprtsec: string): string {
  const options = `vers=3,proto=tcp,mountproto=tcp,nolock,port=${port},mountport=${port},soft,timeo=100,retrans=1`
  return `mount.nfs server:${path} /mnt -o ${options}${xprtsec && `,xprtsec=${xprtsec}`}`
}

t.test('the Linux client with xprtsec=tls and mtls', async (t) => {
  const first = await secureCourse(t)
  const port = first.server.nfsPort as number
  const vm = await bootKernelClient(scratch, { env: { KERNEL_CLIENT_CACHE: `${cache}-tls` }, timeoutMs: 180_000 })
  const { sh } = vm
  await startTlshd(sh)
  await t.rejects(sh(`${mount(port, '/course', '')}; cat /mnt/daemon/welcome.txt`, 120_000), /./, 'clear text')
  await sh('umount /mnt 2> /dev/null || true')

  await startTlshd(sh, daemon)
  await sh(mount(port, '/course/self', 'mtls'), 120_000)
  t.match(await sh('grep /mnt /proc/mounts'), /xprtsec=mtls/)
  t.equal(await sh('cat /mnt/welcome.txt'), 'welcome')
  await sh('echo of-root > /mnt/as-root; setpriv --reuid 1 --clear-groups sh -c "echo of-daemon > /mnt/as-daemon"')
  const owners = `${DAEMON.uid}\n${DAEMON.uid}\n`
  t.equal(await sh('stat -c %u /mnt/as-root /mnt/as-daemon'), owners, 'whoever the client claims to be')
  await sh('dd if=/dev/zero of=/mnt/large bs=1M count=4 2> /dev/null; sync; echo 3 > /proc/sys/vm/drop_caches')
  t.match(
    await sh('sha256sum /mnt/large', 120_000),
    /^bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8/,
  )

  await first.nfs.close()
  await first.server.stop('SIGKILL')
  const second = await secureCourse(t, { dir: first.dir, port })
  await sh('echo 3 > /proc/sys/vm/drop_caches')
  t.equal(await sh('cat /mnt/as-daemon', 180_000), 'of-daemon\n', 'after kill -9 of the server')
  await sh('echo again > /mnt/again; umount /mnt', 120_000)

  await startTlshd(sh, bin)
  await sh(mount(port, '/course/self', 'mtls'), 120_000)
  t.equal(await sh('ls /mnt'), 'sub\nwelcome.txt\n', 'another certificate is another view')
  t.equal(await sh('stat -c %u /mnt'), `${BIN.uid}\n`)
  writeFileSync(join(second.dir, 'next.pem'), await authority.revoke(bin))
  renameSync(join(second.dir, 'next.pem'), join(second.dir, 'revoked.pem'))
  const look = 'sleep 2; echo 3 > /proc/sys/vm/drop_caches; cat /mnt/sub/a.txt'
  await t.rejects(sh(look, 180_000), /./, 'a revoked certificate')
  await sh('umount -f -l /mnt')

  await startTlshd(sh)
  await sh(mount(port, '/course/daemon', 'tls'), 120_000)
  t.match(await sh('grep /mnt /proc/mounts'), /xprtsec=tls/)
  t.equal(await sh('setpriv --reuid 1 --clear-groups cat /mnt/as-root'), 'of-root\n', 'AUTH_SYS, encrypted')
  await t.rejects(sh('setpriv --reuid 2 --clear-groups cat /mnt/as-root'), /ermission denied/)
  vm.stop()
})
