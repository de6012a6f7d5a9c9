import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { initrdHas } from '../../../server/image/initrd-words.ts'
import { AS_ROOT } from '../course.ts'
import { run } from '../launch.ts'

t.setTimeout(180_000)

/** An archive of one file, as in an initial RAM disk. */
function archive(t: Test, name: string, content = 'x'): Buffer {
  const dir = t.testdir({ [name]: content })
  return execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: dir, input: `${name}\n` })
}

const KEY = '-----BEGIN'
const SOUND = {
  boot: { 'vmlinuz-6.1.0-9': 'k', 'vmlinuz-6.1.0-10': 'k' },
  etc: {
    fstab: '# none\n/dev/sda1 / ext4 defaults 0 1\ntmpfs /tmp tmpfs\nUUID=x none swap sw 0 0\n',
    'machine-id': `${'a'.repeat(32)}\n`,
    ssh: { ssh_host_rsa_key: KEY, 'ssh_host_rsa_key.pub': 'p', sshd_config: '' },
    network: { interfaces: 'auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n' },
    shadow: 'root:*:1:0:99999:7:::\n',
  },
}

t.test('what an initial RAM disk contains', async (t) => {
  const early = archive(t, 'microcode')
  const main = archive(t, 'nfsmount')
  const other = archive(t, 'ext4.ko')
  for (const [name, data, has] of [
    ['plain', main, true],
    ['gzip', gzipSync(main), true],
    ['zstd', zstdCompressSync(main), true],
    ['early and zstd', Buffer.concat([early, Buffer.alloc(512), zstdCompressSync(main)]), true],
    ['early and gzip, without', Buffer.concat([early, Buffer.alloc(1024), gzipSync(other)]), false],
    ['early alone', early, false],
    ['a word across pieces', gzipSync(Buffer.concat([Buffer.alloc(3 * 256 * 1024 - 4), main])), true],
    ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0]), undefined],
    ['text', Buffer.from('not an archive'), undefined],
    ['cut short', gzipSync(main).subarray(0, 40), false],
    ['empty', Buffer.alloc(0), undefined],
  ] as const) {
    const path = join(t.testdir({}), 'disk')
    writeFileSync(path, data)
    t.equal(await initrdHas(path, ['nfsmount', 'nfs.ko']), has, name)
  }
})

t.test('lint says what breaks, and mends what is safe', async (t) => {
  const [disk, other] = [gzipSync(archive(t, 'nfsmount')), gzipSync(archive(t, 'ext4.ko'))]
  const root = t.testdir({ image: SOUND, outside: { 'machine-id': 'b'.repeat(32) } })
  const image = join(root, 'image')
  writeFileSync(join(image, 'boot/initrd.img-6.1.0-10'), disk)
  const first = await run(['image', 'lint', image])
  t.equal(first.status, 0)
  for (const line of [
    /^warning: \/etc\/machine-id: all machines would be the same one .* \(--fix mends it\)$/m,
    /^warning: \/etc\/ssh\/ssh_host_rsa_key: all machines would have this host key/m,
    /^warning: \/etc\/fstab: a disk .*: \/dev\/sda1 \/ ext4 defaults 0 1; remove the line/m,
    /^warning: \/etc\/fstab: a disk .*: UUID=x none swap sw 0 0;/m,
    /^warning: \/etc\/network\/interfaces: eth0 is configured once more/m,
    /^note: \/etc\/shadow: nobody has a password/m,
  ])
    t.match(first.stdout, line)
  t.notMatch(first.stdout, /error/)
  t.match((await run(['image', 'lint', image, '--fix'])).stdout, /\(mended\)/)
  t.equal(readFileSync(join(image, 'etc/fstab'), 'utf8'), '# none\ntmpfs /tmp tmpfs\n')
  t.equal(readFileSync(join(image, 'etc/machine-id'), 'utf8'), '')
  t.same(readdirSync(join(image, 'etc/ssh')), ['sshd_config'])
  const told = JSON.parse((await run(['image', 'lint', image, '--json'])).stdout)
  t.same(
    told.filter(({ fixable }: { fixable: boolean }) => fixable),
    [],
  )

  writeFileSync(join(image, 'boot/initrd.img-6.1.0-10'), other)
  const without = await run(['image', 'lint', image])
  t.equal(without.status, 1, 'an initial RAM disk without NFS')
  t.match(without.stdout, /^error: \/boot\/initrd\.img-6\.1\.0-10: cannot mount NFS; install nfs-common/m)
})

t.test('no symlink of an image leads out of it', async (t) => {
  const root = t.testdir({ image: { boot: {} }, outside: { 'machine-id': 'b'.repeat(32), ssh_host_rsa_key: KEY } })
  mkdirSync(join(root, 'image/real'))
  writeFileSync(join(root, 'image/real/machine-id'), 'c'.repeat(32))
  symlinkSync(join(root, 'outside'), join(root, 'image/etc'))
  const { stdout, status } = await run(['image', 'lint', join(root, 'image'), '--fix'])
  t.equal(status, 1)
  t.match(stdout, /^error: \/boot: there is no kernel/m)
  t.notMatch(stdout, /machine-id/)
  t.equal(readFileSync(join(root, 'outside/machine-id'), 'utf8').length, 32)
})

t.test('an image from a directory or a tar file, in one step', AS_ROOT, async (t) => {
  const root = t.testdir({ source: SOUND, 'bad.tar': 'no archive' })
  const at = (name: string) => join(root, name)
  execFileSync('tar', ['-cf', at('good.tar'), '-C', at('source'), '.'])
  for (const [from, to] of [
    ['source', 'one'],
    ['good.tar', 'two'],
  ] as const) {
    const { stdout, status } = await run(['image', 'build', at(to), '--from', at(from)])
    t.equal(status, 0)
    t.match(stdout, /^made .*\n(.|\n)*no initial RAM disk/)
    t.equal(readFileSync(join(at(to), 'etc/machine-id'), 'utf8'), '', 'without the identity of another machine')
  }
  t.equal(readFileSync(at('source/etc/machine-id'), 'utf8').length, 33)
  t.match((await run(['image', 'build', at('one'), '--from', at('source')])).stderr, /exists already/)
  t.match((await run(['image', 'build', at('three'), '--from', at('bad.tar')])).stderr, /tar failed: /)
  t.match((await run(['image', 'build', at('three'), '--from', at('none')])).stderr, /none does not exist/)
  t.notOk(existsSync(at('three')) || existsSync(at('three.making')), 'nothing is left')
})

t.test('wrong options', async (t) => {
  for (const [words, error] of [
    [['build', 'x'], /give one of them/],
    [['build', 'x', '--debootstrap', '../x'], /is not the name of a suite/],
    [['build', 'x', '--debootstrap', 'bookworm', '--packages', 'a b'], /is not the name of a package/],
    [['build', 'x', '--debootstrap', 'bookworm', '--mirror', 'file:///x'], /is not a URL/],
    [['build', 'x', '--from', 'y', '--packages', 'z'], /goes with --debootstrap/],
    [['lint', 'x', '--from', 'y'], /does not go with image lint/],
    [['lint', '/nowhere'], /is not a directory/],
    [['buid'], /build/],
  ] as const) {
    const { status, stderr } = await run(['image', ...words])
    t.match([status, stderr], [2, error], words.join(' '))
  }
})
