import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { AS_ROOT } from '../course.ts'
import { LAUNCHER, run } from '../launch.ts'
import { bootPort, lab, labToml, MAC_ONE, MAC_TWO } from './lab.ts'

t.setTimeout(300_000)

async function machines(dir: string, ...words: string[]) {
  return await run(['machine', ...words, '--state-dir', join(dir, 'state')])
}

t.test('a machine boots: script, kernel, its own view over NFS, with an identity of its own', AS_ROOT, async (t) => {
  const all = await lab(t)
  const [one, two] = [all.at('127.0.0.2'), all.at('127.0.0.3')]
  t.match(
    (await one.get('/boot.ipxe')).text,
    /^#!ipxe\n(.|\n)*chain --replace \/boot\.ipxe\?mac=\$\{netX\/mac:hexhyp\}/,
  )
  t.equal(
    await one.read('etc/hostname').catch((error) => error.message),
    'MNT /debian/self: 2',
    'nothing before it boots',
  )
  t.same(
    readdirSync(join(all.dir, 'views')).filter((name) => /^[0-9a-f]{16}$/.test(name)),
    [],
    'a script alone makes no view',
  )

  const { script, token, kernel } = await one.boot('52-54-00-00-00-01')
  t.match(script, /^#!ipxe\n/)
  t.match(
    script,
    / root=\/dev\/nfs nfsroot=127\.0\.0\.1:\/debian\/self,v3,tcp,nolock,timeo=600,retrans=2,port=\d+,mountport=\d+ rw ip=::::one::dhcp BOOTIF=01-52-54-00-00-00-01 /,
  )
  t.match(script, / nfs\.nfs4_unique_id=one quiet debug \|\| exit 1\n/, 'its own arguments after those of its group')
  t.equal(kernel.status, 200)
  t.equal(kernel.text, 'a new kernel', 'the newest one, and no candidate')
  const initrd = await one.get(`/boot/files/${token}/initrd`)
  t.equal(initrd.text, 'a new disk')
  const { etag = '' } = kernel.headers
  const file = `/boot/files/${token}/kernel`
  t.equal((await one.get(file, { 'if-none-match': etag as string })).status, 304)
  const part = await one.get(file, { range: 'bytes=2-4' })
  t.same([part.status, part.text, part.headers['content-range']], [206, 'new', 'bytes 2-4/12'])
  t.equal((await one.get(file, { range: 'bytes=-6' })).text, 'kernel')
  t.equal((await one.get(file, { range: 'bytes=99-' })).status, 416)
  t.equal((await one.get(file, { range: 'bytes=0-2', 'if-range': '"other"' })).text, 'a new kernel')
  const head = await one.get(file, {}, 'HEAD')
  t.same([head.status, head.text, head.headers['content-length']], [200, '', '12'])

  t.equal(await one.read('etc/hostname'), 'one\n')
  t.match(await one.read('etc/machine-id'), /^[0-9a-f]{32}\n$/)
  t.notMatch(await one.read('etc/fstab'), /ext4/)
  t.match(await one.read('etc/systemd/system/networking.service.d/overlayd.conf'), /ExecStop=\n/)
  t.equal(await one.read('etc/ssh/ssh_host_rsa_key'), 'status 2', 'no cloned identity')
  t.match(await one.read('etc/ssh/ssh_host_ed25519_key'), /BEGIN OPENSSH PRIVATE KEY/)
  await two.boot(MAC_TWO)
  t.equal(await two.read('etc/hostname'), 'two\n')
  t.not(await two.read('etc/machine-id'), await one.read('etc/machine-id'))
  t.not(await two.read('etc/ssh/ssh_host_ed25519_key'), await one.read('etc/ssh/ssh_host_ed25519_key'))
  t.equal(readFileSync(join(all.dir, 'image/etc/hostname'), 'utf8'), 'image\n', 'the image is as it was')

  const neighbour = await two.nfs()
  const handle = await neighbour.mount('/debian/one')
  t.equal((await neighbour.lookup(handle, 'etc')).status, 13, 'a neighbour gets nothing in the view of another')
  const stranger = await all.at('127.0.0.9').nfs()
  t.equal((await stranger.mnt('/debian/self')).status, 2)

  const { stdout } = await machines(all.dir, 'list')
  t.match(stdout, /^one +52:54:00:00:00:01 +127\.0\.0\.2 +debian +running +20/m)
  t.match(JSON.parse((await machines(all.dir, 'show', 'two', '--json')).stdout), {
    address: '127.0.0.3',
    kernel: '/boot/vmlinuz-6.1.0-10-amd64',
  })
})

t.test('a token is good for one machine, from one address, until the next script', AS_ROOT, async (t) => {
  const all = await lab(t)
  const [one, two] = [all.at('127.0.0.2'), all.at('127.0.0.3')]
  const { token } = await one.boot(MAC_ONE)
  t.equal((await two.get(`/boot/files/${token}/kernel`)).status, 403, 'from another address')
  t.equal((await one.get(`/boot/files/${token.slice(0, -1)}A/initrd`)).status, 403)
  const again = await one.boot(MAC_ONE)
  t.equal(again.kernel.status, 200)
  t.equal((await one.get(`/boot/files/${token}/kernel`)).status, 403, 'the one before')
  t.equal((await one.get(`/boot/files/${again.token}/other`)).status, 404)
  t.equal((await one.get(`/boot/files/${again.token}/..%2f..%2fetc%2fshadow`)).status, 404)

  const stolen = await two.get(`/boot.ipxe?mac=${MAC_ONE}`)
  t.equal(stolen.status, 409, 'another machine under its identity while it runs')
  t.match(stolen.text, /127\.0\.0\.2/)
  const { stdout } = await machines(all.dir, 'list')
  t.match(stdout, /^\(!\) one: two machines under one identity: it is at 127\.0\.0\.2, and 127\.0\.0\.3 asks/m)
})

t.test('killed and started again, it knows who is at which address', AS_ROOT, async (t) => {
  const first = await lab(t)
  const one = first.at('127.0.0.2')
  await one.boot(MAC_ONE)
  const id = await one.read('etc/machine-id')
  const key = await one.read('etc/ssh/ssh_host_ed25519_key')
  const ports = { nfs: first.server.nfsPort as number, boot: bootPort(first) }
  await first.server.stop('SIGKILL')
  const second = await lab(t, { dir: first.dir, ports })
  const again = second.at('127.0.0.2')
  t.equal(await again.read('etc/hostname'), 'one\n', 'the machine goes on')
  t.equal(await again.read('etc/machine-id'), id)
  const { kernel } = await again.boot(MAC_ONE)
  t.equal(kernel.status, 200)
  t.equal(await again.read('etc/machine-id'), id)
  t.equal(await again.read('etc/ssh/ssh_host_ed25519_key'), key)
  t.equal((await machines(first.dir, 'forget', 'one', '--yes')).status, 0)
  t.equal((await (await again.nfs()).mnt('/debian/self')).status, 2, 'a forgotten machine must boot again')
  await again.boot(MAC_ONE)
  t.not(await again.read('etc/machine-id'), id)
})

t.test('policies', AS_ROOT, async (t) => {
  const all = await lab(t, {
    boot: 'keep_snapshots = 2',
    tables: `
[machines.fresh]
mac = "52:54:00:00:00:03"
view = "debian"
policy = "reset-at-boot"
[machines.safe]
mac = "52:54:00:00:00:04"
view = "debian"
policy = "snapshot-at-boot"
`,
  })
  const change = async (machine: ReturnType<typeof all.at>, name: string) => {
    const nfs = await machine.nfs()
    t.equal((await nfs.mkdir(await nfs.mount('/debian/self'), name)).status, 0)
  }
  const names = async (machine: ReturnType<typeof all.at>) => {
    const nfs = await machine.nfs()
    return (await nfs.readdir(await nfs.mount('/debian/self'))).entries.map(({ name }) => name)
  }
  const [one, fresh, safe] = [all.at('127.0.0.2'), all.at('127.0.0.4'), all.at('127.0.0.5')]
  for (const [machine, mac] of [
    [one, MAC_ONE],
    [fresh, '52:54:00:00:00:03'],
    [safe, '52:54:00:00:00:04'],
  ] as const) {
    await machine.boot(mac)
    await change(machine, 'made')
    const id = await machine.read('etc/machine-id')
    await machine.boot(mac)
    t.equal((await names(machine)).includes('made'), machine !== fresh)
    t.equal(await machine.read('etc/machine-id'), id, 'its identity stays')
  }
  await new Promise((resolve) => setTimeout(resolve, 1100))
  await safe.boot('52:54:00:00:00:04')
  await new Promise((resolve) => setTimeout(resolve, 1100))
  await safe.boot('52:54:00:00:00:04')
  const kept = JSON.parse(
    (await run(['snapshots', 'debian/safe', '--json', '--state-dir', join(all.dir, 'state')])).stdout,
  )
  t.equal(kept.length, 2, 'older ones are removed')
  t.match(kept[0].name, /^boot-/)

  t.match((await machines(all.dir, 'reset', 'one')).stderr, /add --yes/)
  t.match(
    (await machines(all.dir, 'reset', 'one', '--yes')).stdout,
    /^reset one; what was there before is debian\/one@before-reset-/,
  )
  await one.boot(MAC_ONE)
  t.notOk((await names(one)).includes('made'))
  t.equal(await one.read('etc/hostname'), 'one\n')
})

t.test('seeds: files of the admin, keys, templates, a chosen list', AS_ROOT, async (t) => {
  const all = await lab(t, {
    machines: `
[groups.site]
files = ["vendor"]
authorized_keys = ["ssh-ed25519 AAAA admin"]
fstab = ["tmpfs /tmp tmpfs mode=1777 0 0"]
[machines.one]
mac = "${MAC_ONE}"
view = "debian"
groups = ["site"]
files = ["site"]
seeds = ["hostname", "fstab", "volatile-journal"]
`,
    prepare(dir) {
      for (const [path, text] of [
        ['vendor/etc/issue', 'vendor\n'],
        ['vendor/etc/motd.template', 'I am {{name}} ({{mac}}) at {{ address }}, serial "{{serial}}"\n'],
        ['site/etc/issue', 'site\n'],
      ] as const) {
        writeDeep(join(dir, path), text)
      }
    },
  })
  const one = all.at('127.0.0.2')
  await one.boot(MAC_ONE)
  t.equal(await one.read('etc/issue'), 'site\n', 'the own files after those of the groups')
  t.equal(await one.read('etc/motd'), `I am one (${MAC_ONE}) at 127.0.0.2, serial ""\n`)
  t.equal(await one.read('root/.ssh/authorized_keys'), 'ssh-ed25519 AAAA admin\n')
  t.match(await one.read('etc/fstab'), /^#.*\ntmpfs \/tmp tmpfs mode=1777 0 0\n$/)
  t.equal(await one.read('etc/machine-id'), 'cloned\n', 'not in the list')
  t.match(await one.read('etc/systemd/journald.conf.d/overlayd.conf'), /Storage=volatile/)

  const nfs = await one.nfs()
  const root = await nfs.mount('/debian/self')
  const etc = (await nfs.lookup(root, 'etc')).handle!
  await nfs.remove(etc, 'hostname')
  await nfs.symlink(etc, 'hostname', '/boot/vmlinuz-6.1.0-9-amd64')
  await nfs.rename(etc, 'systemd', etc, 'away')
  await nfs.symlink(etc, 'systemd', '/boot')
  await one.boot(MAC_ONE)
  t.equal(await one.read('etc/hostname'), 'one\n', 'a symlink is replaced, not followed')
  t.equal(await one.read('boot/vmlinuz-6.1.0-9-amd64'), 'an old kernel')
  t.equal(await one.read('boot/journald.conf.d/overlayd.conf'), 'status 2', 'nor is one on the way')
})

t.test('unknown machines', AS_ROOT, async (t) => {
  const mac = '52:54:00:00:00:99'
  const none = await lab(t)
  t.equal((await none.at('127.0.0.2').get(`/boot.ipxe?mac=${mac}`)).status, 403)
  await none.server.stop()
  const menu = await lab(t, { dir: none.dir, boot: 'unknown = "menu"\ntimeout = 7' })
  const chooser = menu.at('127.0.0.2')
  const asked = await chooser.get(`/boot.ipxe?mac=${mac}`)
  t.match(asked.text, /item debian debian\n(.|\n)*choose --default debian --timeout 7000 chosen/)
  t.match(asked.text, /chain --replace \/boot\/\$\{chosen\}\.ipxe\?mac=52%3A54%3A00%3A00%3A00%3A99 /)
  await chooser.boot(mac, '/boot/debian.ipxe')
  t.equal(await chooser.read('etc/hostname'), 'm-525400000099\n')
  t.equal((await chooser.get(`/boot/other.ipxe?mac=${mac}`)).status, 404)
  await menu.server.stop()

  const register = await lab(t, { dir: none.dir, boot: 'unknown = "register"' })
  const waiting = register.at('127.0.0.3')
  t.match(
    (await waiting.get(`/boot.ipxe?mac=${mac}&serial=abc`)).text,
    /sleep 10 .*\nchain --replace \/boot\.ipxe\?mac=52%3A54/,
  )
  t.match((await machines(none.dir, 'list')).stdout, /^- +52:54:00:00:00:99 +127\.0\.0\.3 +- +waits for approval /m)
  t.match((await machines(none.dir, 'approve', mac, '../x')).stderr, /cannot be the name of a machine/)
  t.match((await machines(none.dir, 'approve', mac, 'one')).stderr, /there is a machine one already/)
  t.match((await machines(none.dir, 'approve', mac, 'new', '--group', 'labb')).stderr, /no group "labb"/)
  t.match((await machines(none.dir, 'approve', mac, 'new', '--group', 'lab')).stdout, /is new and boots debian/)
  t.match((await waiting.boot(mac)).script, /ip=::::new::dhcp .*quiet/)
  t.equal(await waiting.read('etc/hostname'), 'new\n')
  await register.server.stop()
  const later = await lab(t, { dir: none.dir })
  t.match((await later.at('127.0.0.3').boot(mac)).script, /ip=::::new::dhcp /, 'approval outlives the server')
})

t.test('bad input', AS_ROOT, async (t) => {
  const all = await lab(t, { boot: 'unknown = "register"' })
  const one = all.at('127.0.0.2')
  for (const [query, status] of [
    [`mac=${'5'.repeat(100)}`, 400],
    [`mac=${'5'.repeat(300)}`, 400],
    ['mac=52:54:00:00:00:zz', 400],
    ['mac=../../etc', 400],
    [`mac=${MAC_ONE}&mac=${MAC_TWO}`, 400],
    ['uuid[]=x', 200],
  ] as const)
    t.equal((await one.get(`/boot.ipxe?${query}`)).status, status, query.slice(0, 40))
  for (const path of [
    '/boot/..%2f..%2fetc%2fpasswd',
    '/boot/%2e%2e%2fx.ipxe',
    '/boot/debian.ipxe%0aboot',
    `/boot/${'a'.repeat(100)}.ipxe`,
    '/etc/passwd',
    '/debian/etc/hostname',
  ])
    t.equal((await one.get(path)).status, 404, path)
  for (const text of [`\${boot}`, 'x\nboot', '"; reboot; "', '`id`', '{{name}}', '<script>']) {
    const { status, text: answer } = await one.get(
      `/boot.ipxe?mac=52:54:00:00:00:77&serial=${encodeURIComponent(text)}&uuid=${encodeURIComponent(text)}&hostname=${encodeURIComponent(text)}&platform=${encodeURIComponent(text)}`,
    )
    t.equal(status, 200)
    t.notOk(answer.includes(text), `${JSON.stringify(text)} does not get into a script`)
  }
  const many = await Promise.all(Array.from({ length: 200 }, () => one.get(`/boot.ipxe?mac=${MAC_ONE}`)))
  const letIn = many.filter(({ status }) => status === 200).length
  t.ok(letIn <= 40, `${letIn} of 200 scripts at once`)
  t.ok(many.some(({ status }) => status === 429))
  t.equal((await all.at('127.0.0.3').get(`/boot.ipxe?mac=${MAC_TWO}`)).status, 200, 'others get theirs')

  const bare = await lab(t, {
    tables: '',
    machines: `[machines.one]\nmac = "${MAC_ONE}"\nview = "debian"\n`,
    prepare: (dir) => rmSync(join(dir, 'image/boot'), { recursive: true }),
  })
  const { kernel } = await bare.at('127.0.0.2').boot(MAC_ONE)
  t.equal(kernel.status, 503)
  t.match(kernel.text, /the image has no kernel: .*install one/)
  t.match((await machines(bare.dir, 'list')).stdout, /\(!\) one: it cannot boot: .*no kernel/)
})

t.test('overlayd reload takes another list; an inventory of files', AS_ROOT, async (t) => {
  const options = {
    boot: 'inventory = "machines.d"',
    prepare: (dir: string) =>
      writeDeep(join(dir, 'machines.d/three.toml'), '[machines.three]\nmac = "52:54:00:00:00:33"\ngroups = ["lab"]\n'),
  }
  const all = await lab(t, options)
  t.match((await all.at('127.0.0.4').boot('52:54:00:00:00:33')).script, /ip=::::three::dhcp .*quiet/)
  writeFileSync(
    join(all.dir, 'machines.d/four.toml'),
    '[machines.four]\nmac = "52:54:00:00:00:44"\ngroups = ["lab"]\npolicy = "reset-at-boot"\n',
  )
  const reload = () => run(['reload', '--state-dir', join(all.dir, 'state')])
  t.match((await reload()).stdout, /boot, machines, groups/)
  t.match((await all.at('127.0.0.5').boot('52:54:00:00:00:44')).script, /ip=::::four::dhcp/)
  writeFileSync(join(all.dir, 'machines.d/four.toml'), `[machines.four]\nmac = "${MAC_ONE}"\n[views.x]\n`)
  const { stdout, stderr, status } = await reload()
  t.equal(status, 1)
  t.match(stdout + stderr, /four\.toml.*has the same mac 52:54:00:00:00:01 as one/)
  t.match(stdout + stderr, /four\.toml:3:\d+: "views" does not belong here/)
  writeFileSync(join(all.dir, 'machines.d/four.toml'), '')
  writeFileSync(
    join(all.dir, 'o.toml'),
    labToml({ ...options, boot: `${options.boot}\nserver = "192.0.2.1"\ncheck_mac = "always"` }),
  )
  await reload()
  const refused = await all.at('127.0.0.2').get(`/boot.ipxe?mac=${MAC_ONE}`)
  t.match([refused.status, refused.text], [403, /not in the neighbour table/])
})

t.test('a machine with an address for good mounts without a script', AS_ROOT, async (t) => {
  const all = await lab(t, { machines: '[machines.pi]\naddress = "127.0.0.7"\nview = "debian"\n' })
  const pi = all.at('127.0.0.7')
  t.equal(await pi.read('etc/hostname'), 'pi\n')
  t.equal((await (await all.at('127.0.0.8').nfs()).mnt('/debian/self')).status, 2)
  t.match(
    (await machines(all.dir, 'console-args', 'pi')).stdout,
    /^root=\/dev\/nfs nfsroot=127\.0\.0\.1:\/debian\/self,/,
  )
})

t.test('machines that are reset boot the newest version of the image, others stay on theirs', AS_ROOT, async (t) => {
  const layers = '[layers]\ndirectory = "store"\n[stacks.debian]\nlayers = ["layer:image"]\n'
  const tables = '[machines.fresh]\nmac = "52:54:00:00:00:03"\nview = "debian"\npolicy = "reset-at-boot"\n'
  const layer = (dir: string, verb: 'add' | 'publish') =>
    execFileSync(process.execPath, [
      LAUNCHER,
      'layer',
      verb,
      'image',
      '--from',
      join(dir, 'image'),
      '--store',
      join(dir, 'store'),
    ])
  const all = await lab(t, { layers, tables, prepare: (dir) => layer(dir, 'add') })
  const [one, fresh] = [all.at('127.0.0.2'), all.at('127.0.0.4')]
  await one.boot(MAC_ONE)
  await fresh.boot('52:54:00:00:00:03')
  writeFileSync(join(all.dir, 'image/etc/issue'), 'second\n')
  layer(all.dir, 'publish')
  t.equal((await run(['reload', '--state-dir', join(all.dir, 'state')])).status, 0)
  t.equal(await fresh.read('etc/issue'), 'status 2', 'what runs goes on')
  t.match((await machines(all.dir, 'list')).stdout, /^fresh .* debian image@1 \(old\) +running/m)
  await one.boot(MAC_ONE)
  t.match((await machines(all.dir, 'pin', 'fresh')).stdout, /^fresh stays on image@1$/m)
  await fresh.boot('52:54:00:00:00:03')
  t.equal(await fresh.read('etc/issue'), 'status 2', 'a pinned one stays, too')
  await machines(all.dir, 'unpin', 'fresh')
  await fresh.boot('52:54:00:00:00:03')
  t.equal(await one.read('etc/issue'), 'status 2')
  t.equal(await fresh.read('etc/issue'), 'second\n')
  t.match(JSON.parse((await machines(all.dir, 'show', 'fresh', '--json')).stdout), {
    versions: ['image@2'],
    outdated: false,
  })
})

t.test('a boot script for GRUB', AS_ROOT, async (t) => {
  const all = await lab(t)
  const one = all.at('127.0.0.2')
  const { text } = await one.get(`/boot/grub.cfg?mac=${MAC_ONE}`)
  const [, token] = /linux \(http,127\.0\.0\.1:\d+\)\/boot\/files\/([^/]+)\/kernel root=\/dev\/nfs /.exec(text) ?? []
  t.match(text, new RegExp(`initrd \\(http,127\\.0\\.0\\.1:\\d+\\)/boot/files/${token}/initrd\n`))
  t.equal((await one.get(`/boot/files/${token}/kernel`)).text, 'a new kernel')
})

function writeDeep(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}
