import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { readConfig } from '../../../config/file/read-config.ts'
import { readMac, readSerial, readUuid } from '../../../config/index.ts'
import { nameOfUnknown, readClaim } from '../../../server/boot/claim.ts'
import { kernelArguments } from '../../../server/boot/kernel-arguments.ts'
import { compareVersions } from '../../../server/boot/kernel-files.ts'
import { MachineRecords } from '../../../server/boot/machine-records.ts'
import { Machines } from '../../../server/boot/machines.ts'
import { macOf } from '../../../server/boot/neighbours.ts'
import { render } from '../../../server/boot/site-files.ts'
import { newSshHostKey } from '../../../server/boot/ssh-host-key.ts'

t.test('identities are read in the forms in which firmware writes them, and in no other', async (t) => {
  for (const text of ['52:54:00:AB:cd:01', '52-54-00-ab-CD-01', '525400abcd01'])
    t.equal(readMac(text), '52:54:00:ab:cd:01')
  for (const text of [
    '',
    '52:54:00:ab:cd',
    '52:54:00:ab:cd:01:02',
    '52:54-00:ab:cd:01',
    '52:54:00:ab:cd:0',
    '5254:00ab:cd01',
    '../',
    '5'.repeat(100),
    '52:54:00:ab:cd:01\n',
  ])
    t.equal(readMac(text), undefined, JSON.stringify(text))
  t.equal(readUuid('4C4C4544-0042-3510-8054-B4C04F4A4D32'), '4c4c4544-0042-3510-8054-b4c04f4a4d32')
  t.equal(readUuid('4c4c4544'), undefined)
  t.equal(readSerial(' VMware-56 4d '), 'VMware-56 4d')
  for (const text of ['', `\${x}`, '{{x}}', 'a"b', "a'b", 'a\nb', '-x', 'x'.repeat(65), 'ä'])
    t.equal(readSerial(text), undefined, text)
})

t.test('what firmware says that has no UUID or serial number is nobody', async (t) => {
  const claim = readClaim({
    mac: '52:54:00:ab:cd:01',
    uuid: '00000000-0000-0000-0000-000000000000',
    serial: 'To be filled by O.E.M.',
    key: 'a b',
  })
  t.same(claim, { mac: '52:54:00:ab:cd:01', uuid: undefined, serial: undefined, key: undefined })
  t.equal(nameOfUnknown(claim as Exclude<typeof claim, string>), 'm-525400abcd01')
  t.match(readClaim({ mac: ['a', 'b'] }), /given twice/)
  t.match(readClaim({ serial: 'x'.repeat(201) }), /longer than/)
})

t.test('the order of kernels', async (t) => {
  const names = [
    '6.1.0-9-amd64',
    '6.1.0-10-amd64',
    '6.1.0-10~rc3-amd64',
    '6.10.2',
    '6.9.12',
    '5.10.0-28-amd64',
    '6.1.0-rc7',
    '6.1.0',
  ]
  t.same(names.toSorted(compareVersions), [
    '5.10.0-28-amd64',
    '6.1.0-rc7',
    '6.1.0',
    '6.1.0-9-amd64',
    '6.1.0-10~rc3-amd64',
    '6.1.0-10-amd64',
    '6.9.12',
    '6.10.2',
  ])
})

t.test('OpenSSH reads the host keys', async (t) => {
  for (const comment of ['root@a', 'root@lab7', 'root@a-long-name-of-a-machine']) {
    const key = newSshHostKey(comment, randomBytes(4))
    const dir = t.testdir({ key: key.private })
    execFileSync('chmod', ['600', join(dir, 'key')])
    t.equal(`${execFileSync('ssh-keygen', ['-y', '-f', join(dir, 'key')], { encoding: 'utf8' }).trim()}\n`, key.public)
  }
})

t.test('templates of files', async (t) => {
  const values = { name: 'one', mac: '{{name}}', uuid: undefined, serial: '', address: '', server: '', view: '' }
  t.equal(
    render('{{name}} {{ name }} {{mac}} [{{uuid}}] {name} {{}', values, 'f'),
    'one one {{name}} [] {name} {{}',
    'once',
  )
  t.throws(
    () => render('{{password}}', values, 'site/x.template'),
    /site\/x\.template names \{\{password\}\}; the words are name, mac/,
  )
  t.throws(() => render('{{constructor}}', values, 'f'), /the words are/)
})

t.test('machines in no list give way to others when they are gone', async (t) => {
  const kept: string[] = []
  const journal = {
    takeRecords: () => [],
    append: async (text: string) => void kept.push(text),
    keepShort: () => undefined,
  }
  const log = pino({ level: 'silent' })
  const records = new MachineRecords(journal, log, 2)
  let now = 1_000_000
  const settings = readConfig(
    '[boot]\nlisten = "10.0.0.1:8081"\nviews = ["a"]\n[layers.a]\npath = "a"\n[stacks.a]\nlayers = ["a"]\n[views.a]\nstack = "a"\nupper = "per-machine"\ndirectory = "v"\n',
    {
      ...{ name: 'c', path: '/c', overrides: new Map(), exportError: () => undefined },
      environment: { cwd: '/', uid: 0, defaultStateDir: '/s', variables: {} },
    },
  ).draft.boot!
  const machines = new Machines(settings, { records, random: randomBytes, wallNow: () => now, log, findable: true })
  await machines.lease('m-1', { view: 'a', address: '10.0.0.2' }, undefined)
  now += 1000
  await machines.lease('m-2', { view: 'a', address: '10.0.0.3' }, undefined)
  t.equal(await machines.makeRoom(), false, 'both are at their addresses')
  now += settings.leaseMs
  t.equal(machines.nameAt('a', '10.0.0.2'), undefined, 'one was silent for too long')
  t.equal(await machines.makeRoom(), true)
  t.same(machines.names(), ['m-2'])
  t.equal(machines.nameAt('a', '10.0.0.3'), 'm-2')
  t.match(kept.at(-1), /"forget":"m-1"/)
})

t.test('the kernel command line', async (t) => {
  const machine = {
    ...{ name: 'one', groups: [], policy: 'keep' as const, seeds: [], fstab: [], authorizedKeys: [], files: [] },
    ...{ arguments: ['quiet'], mountOptions: ['acregmax=600'], console: 'ttyS0', mac: '52:54:00:00:00:01' },
  } as const
  const words = (server: string, port?: number) => kernelArguments(machine, { server, port, view: 'debian' }).join(' ')
  t.equal(
    words('10.0.0.1'),
    'root=/dev/nfs nfsroot=10.0.0.1:/debian/self,v3,tcp,nolock,timeo=600,retrans=2,acregmax=600 rw ip=::::one::dhcp BOOTIF=01-52-54-00-00-00-01 nfs.nfs4_unique_id=one console=ttyS0 quiet',
    'with a portmapper no port is named: klibc knows no mountport',
  )
  t.match(words('fd00::1', 2049), / nfsroot=\[fd00::1\]:\/debian\/self,.*,port=2049,mountport=2049,acregmax=600 /)
})

t.test('the neighbour table', async (t) => {
  const dir = t.testdir({
    arp: `IP address       HW type     Flags       HW address            Mask     Device
10.0.0.2         0x1         0x2         52:54:00:AB:cd:01     *        eth0
10.0.0.3         0x1         0x0         00:00:00:00:00:00     *        eth0
`,
  })
  t.equal(await macOf('10.0.0.2', join(dir, 'arp')), '52:54:00:ab:cd:01')
  t.equal(await macOf('10.0.0.3', join(dir, 'arp')), undefined, 'one that does not answer')
  t.equal(await macOf('10.0.0.20', join(dir, 'arp')), undefined)
  t.equal(await macOf('10.0.0.2', join(dir, 'none')), undefined)
})
