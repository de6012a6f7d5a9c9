import t from 'tap'
import { readInventory } from '../../config/file/boot.ts'
import { formatProblem } from '../../config/file/problems.ts'
import { readConfig } from '../../config/file/read-config.ts'
import { type BootSettings, parseCommandLine, resolveMachine } from '../../config/index.ts'

const environment = { cwd: '/home/me', uid: 0, defaultStateDir: '/var/lib/overlayd', variables: {} }

const LAB = `
[layers.debian]
path = "debian"
[stacks.debian]
layers = ["debian"]
[views.debian]
stack = "debian"
upper = "per-machine"
directory = "views"
[views.kiosk]
stack = "debian"
upper = "ephemeral"
per = "machine"
directory = "kiosk"
[views.course]
stack = "debian"
[boot]
listen = "10.0.0.1:8081"
views = ["debian", "kiosk"]
`

function read(text: string) {
  return readConfig(text, {
    name: 'c.toml',
    path: '/etc/o/c.toml',
    environment,
    overrides: new Map(),
    exportError: () => undefined,
  })
}

function errors(more: string, lab = LAB): string[] {
  return read(lab + more)
    .problems.list()
    .map((problem) => formatProblem(problem).replace(/^c\.toml:\d+:\d+: /, ''))
}

function machine(more: string, name: string) {
  const boot = read(LAB + more).settings?.boot as BootSettings
  const groups = new Map(boot.groups.map((group) => [group.name, group]))
  return resolveMachine(boot.machines.find((each) => each.name === name)!, groups, boot.arguments)
}

t.test('a machine adds to what its groups say, and overrides single values', async (t) => {
  const found = machine(
    `
arguments = ["a"]
[groups.all]
arguments = ["b"]
policy = "reset-at-boot"
console = "tty0"
seeds = ["hostname"]
[groups.lab]
groups = ["all"]
arguments = ["c"]
view = "debian"
[groups.loud]
console = "ttyS0"
arguments = ["d", "b"]
[machines.one]
mac = "52-54-00-12-34-56"
groups = ["lab", "loud"]
arguments = ["e"]
`,
    'one',
  )
  t.match(found, {
    mac: '52:54:00:12:34:56',
    view: 'debian',
    policy: 'reset-at-boot',
    console: 'tty0',
    seeds: ['hostname'],
  })
  t.same(found.arguments, ['a', 'd', 'b', 'c', 'e'])
})

t.test('errors name what is wrong, then the mend', async (t) => {
  t.same(errors('[machines.one]\nmac = "52:54:00:12:34:56"\n'), [])
  for (const [more, error] of [
    ['[machines.one]\n', /nothing says which machine it is; add mac, uuid, serial or address$/],
    [`[machines.one]\nmac = "${'a'.repeat(100)}"\n`, /is not a MAC such as/],
    ['[machines."../x"]\nmac = "52:54:00:12:34:56"\n', /cannot be the name of a machine/],
    ['[machines.One]\nmac = "52:54:00:12:34:56"\n', /cannot be the name of a machine; use up to 63 lower-case/],
    [
      '[machines.a]\nmac = "52:54:00:12:34:56"\n[machines.b]\nmac = "525400123456"\n',
      /`machines\.b`: has the same mac 52:54:00:12:34:56 as a; correct/,
    ],
    ['[machines.a]\nmac = "52:54:00:12:34:56"\ngroups = ["labb"]\n', /there is no group "labb"; add \[groups\.labb\]/],
    ['[groups.a]\ngroups = ["b"]\n[groups.b]\ngroups = ["a"]\n', /the group is in itself/],
    [
      '[machines.a]\nmac = "52:54:00:12:34:56"\nview = "course"\n',
      /machines do not boot "course"; add it to boot\.views/,
    ],
    [
      '[machines.a]\nmac = "52:54:00:12:34:56"\nview = "kiosk"\npolicy = "snapshot-at-boot"\n',
      /needs a view that is kept/,
    ],
    ['unknown = "ephemeral"\n', /`boot\.unknown_view` is missing/],
    ['unknown = "ephemeral"\nunknown_view = "debian"\n', /is a view that is kept/],
    ['unknown_view = "kiosk"\n', /has an effect only with unknown = "ephemeral"/],
    ['default = "x"\n', /"x" is not in boot\.views/],
    ['arguments = ["a b"]\n', /is not one word of ASCII/],
    ['arguments = ["init=$${x}"]\n', /signs that boot scripts cannot carry/],
    ['arguments = ["a\\"b"]\n', /signs that boot scripts cannot carry/],
    ['arguments = ["||"]\n', /signs that boot scripts cannot carry/],
    ['server = "a b"\n', /is not a host name or address/],
    ['[groups.a]\nkernel = "/boot/../../etc/shadow"\n', /not an absolute path in the view/],
    ['[groups.a]\nfstab = ["a\\nb"]\n', /is not one line/],
    ['[groups.a]\nseeds = ["passwd"]\n', /must be "hostname"/],
  ] as const) {
    const found = errors(more)
    t.ok(
      found.some((each) => error.test(each)),
      `${JSON.stringify(more.slice(0, 60))}: ${found.join(' | ')}`,
    )
  }
  t.match(errors('', LAB.replace('"kiosk"]', '"course"]')).join(), /all clients share course/)
  t.match(errors('', LAB.replace('"kiosk"]', '"none"]')).join(), /there is no view "none"/)
  t.match(
    errors('[machines.a]\nmac = "52:54:00:12:34:56"\n', LAB.slice(0, LAB.indexOf('[boot]'))).join(),
    /no effect without the table \[boot\]/,
  )
})

t.test('a file of the inventory has machines and groups only', async (t) => {
  const { machines, problems } = readInventory(
    '[machines.a]\nmac = "525400123456"\nfiles = ["x"]\n[server]\n',
    'm.toml',
    { uid: 0, directory: '/etc/m' },
  )
  t.match(machines, [{ name: 'a', mac: '52:54:00:12:34:56', files: ['/etc/m/x'] }])
  t.match(problems.list().map(formatProblem), [
    'm.toml:4:2: "server" does not belong here; a file of the inventory has [machines.NAME] and [groups.NAME]',
  ])
})

t.test('command lines', async (t) => {
  const parse = (...words: string[]) => parseCommandLine(words, environment)
  t.match(parse('machine', 'approve', '525400123456', 'lab7', '--group', 'lab', '--group', 'x'), {
    machine: { verb: 'approve', mac: '52:54:00:12:34:56', name: 'lab7', groups: ['lab', 'x'] },
  })
  t.throws(() => parse('machine', 'approve', 'x', 'lab7'), /"x" is not a MAC/)
  t.throws(() => parse('machine', 'show'), /needs a name/)
  t.throws(() => parse('machine', 'list', '--drop'), /goes with reset/)
  t.throws(() => parse('machine', 'rest'), /reset/)
  t.match(parse('boot', 'dnsmasq', '--config', 'o.toml', '--network', '10.0.0.0/24'), {
    boot: { network: { address: '10.0.0.0', bits: 24 }, tftpRoot: '/usr/lib/ipxe' },
  })
  t.throws(() => parse('boot', 'dnsmasq', '--config', 'o.toml'), /give one of them/)
  t.throws(() => parse('boot', 'dnsmasq', '--config', 'o.toml', '--network', '10.0.0.0/240'), /is not a network/)
  t.throws(() => parse('boot', 'dnsmasq', '--config', 'o.toml', '--range', '1.2.3.4'), /is not a range/)
  t.throws(
    () => parse('boot', 'dnsmasq', '--config', 'o.toml', '--range', '1.2.3.4,1.2.3.5', '--interface', 'a b'),
    /not the name of an interface/,
  )
})
