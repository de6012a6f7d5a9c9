import t from 'tap'
import { printValues, printValuesAsJson } from '../../config/file/effective.ts'
import { formatProblem } from '../../config/file/problems.ts'
import { defaultValues, readConfig } from '../../config/file/read-config.ts'
import type { Environment } from '../../config/index.ts'

const environment: Environment = {
  cwd: '/home/me',
  uid: 0,
  defaultStateDir: '/var/lib/overlayd',
  variables: { RELEASE: '/srv/release', EMPTY: '', GRACE: '30', FLAG: 'true' },
}

/** Reads a file `/etc/o/c.toml` of this text. */
function read(text: string, options: { overrides?: Record<string, string[]>; uid?: number } = {}) {
  return readConfig(text, {
    name: 'c.toml',
    path: '/etc/o/c.toml',
    environment: { ...environment, uid: options.uid ?? 0 },
    overrides: new Map(Object.entries(options.overrides ?? {})),
    exportError: (each) => (each.includes('nonsense') ? `'${each}' is no client` : undefined),
  })
}

/** What is wrong with a file, without its name. */
function errors(text: string, options?: Parameters<typeof read>[1]): string[] {
  return read(text, options)
    .problems.list()
    .map((problem) => formatProblem(problem).replace(/^c\.toml:/, ''))
}

const COURSE = `
[layers.release]
path = "release"
[stacks.course]
layers = ["release"]
[views.course]
stack = "course"
`

t.test('a small file is enough: everything else is as on the command line', async (t) => {
  const { settings, problems } = read(COURSE)
  t.same(problems.list(), [])
  t.match(settings, {
    configFile: '/etc/o/c.toml',
    webdav: { host: '127.0.0.1', port: 8080, given: false },
    nfs: { host: '127.0.0.1', port: 2049 },
    locks: 'advisory',
    symlinks: 'follow',
    lockGraceMs: 45_000,
    logLevel: 'warn',
    stateDir: '/var/lib/overlayd',
    readyFile: undefined,
    views: [
      {
        name: 'course',
        mount: { lowerdir: ['/etc/o/release'], upperdir: undefined, readOnly: false, index: true, userxattr: false },
        exports: ['127.0.0.1(rw,root_squash,secure,sync)'],
        exportsGiven: false,
      },
    ],
  })
  t.equal(settings?.views[0]?.doors, undefined, 'by both doors')
})

t.test('every key that is served arrives in the settings', async (t) => {
  const { settings, problems } = read(`
[layers]
a = { path = "/srv/a,b" }
b.path = '/srv/b\\c'
data.path = "./blobs/"
[stacks.s]
layers = ["a", "b"]
data_layers = ["data"]
lower_whiteouts = "files"
redirect_dir = "on"
revalidate = 60
xino = "auto"
[views.shared]
stack = "s"
upper = "shared"
directory = "views/shared"
owner = "1000:1001"
index = "off"
whiteouts = "files"
fsync = "strict"
uuid = "off"
[views.old]
stack = "s"
upper = "shared"
upperdir = "/u"
workdir = "/w"
read_only = true
[exports.lab]
view = "shared"
door = "nfs"
clients = ["10.0.0.0/8(rw)", "*(ro)"]
as = "1000:1000"
[exports.more]
view = "shared"
door = "nfs"
[exports.web]
view = "shared"
door = "webdav"
as = "root"
[exports.old]
view = "old"
door = "nfs"
[webdav]
listen = "[::1]:0"
as = "7:8"
locks = "mandatory"
symlinks = "hide"
depth_infinity = true
insecure_no_auth = true
public_urls = ["https://files.example.org/"]
trusted_proxies = ["10.0.0.0/8"]
[nfs]
listen = "0.0.0.0:2050"
manage_gids = true
portmap = true
rpcbind = false
lock_grace = 10
[tls]
certificate = "tls/server.pem"
key = "/k/server.key"
client_ca = "tls/ca.pem"
clients = "require"
revoked = "tls/revoked.pem"
[server]
state_dir = "state"
ready_file = "/run/ready"
[log]
level = "debug"
`)
  t.same(problems.list(), [])
  t.match(settings, {
    webdav: { host: '::1', port: 0, given: true },
    nfs: { host: '0.0.0.0', port: 2050 },
    as: { uid: 7, gid: 8 },
    locks: 'mandatory',
    symlinks: 'hide',
    depthInfinity: true,
    insecureNoAuth: true,
    publicUrls: ['https://files.example.org'],
    trustedProxies: [{ address: '10.0.0.0', bits: 8, family: 'ipv4' }],
    manageGids: true,
    portmap: true,
    rpcbind: false,
    lockGraceMs: 10_000,
    tls: {
      own: { certificate: '/etc/o/tls/server.pem', key: '/k/server.key' },
      clientCa: '/etc/o/tls/ca.pem',
      clients: 'require',
      revoked: '/etc/o/tls/revoked.pem',
    },
    stateDir: '/etc/o/state',
    readyFile: '/run/ready',
    logLevel: 'debug',
  })
  const [shared, old] = settings?.views ?? []
  t.match(shared, {
    name: 'shared',
    mount: {
      lowerdir: ['/srv/a,b', '/srv/b\\c'],
      datadir: ['/etc/o/blobs'],
      upperdir: '/etc/o/views/shared/upper',
      workdir: '/etc/o/views/shared/work',
      lowerWhiteouts: 'files',
      revalidate: 60,
      xino: 'auto',
      index: false,
      whiteouts: 'files',
      fsync: 'strict',
      uuid: 'off',
      metacopy: true,
    },
    make: { owner: { uid: 1000, gid: 1001 } },
    exports: ['-all_squash,anonuid=1000,anongid=1000 10.0.0.0/8(rw) *(ro)', '127.0.0.1(rw,root_squash,secure,sync)'],
    doors: { webdav: true, nfs: true },
    as: { uid: 0, gid: 0 },
  })
  t.match(old, {
    mount: { lowerdir: ['/u', '/srv/a,b', '/srv/b\\c'], upperdir: undefined, readOnly: true },
    make: undefined,
    doors: { webdav: false, nfs: true },
  })
})

t.test('all errors of a file are told at once, each with its place and the mend', async (t) => {
  t.strictSame(
    errors(`listen = "1"
[viewss.q]
[layers.release]
path = "release"
[layers.Release]
pth = 3
[layers."a/b"]
path = 7
[layers.".."]
path = ""
[stacks.course]
lowerdirs = ["x"]
layers = ["release", "relese", 5, "release"]
index = "on"
metacopy = "yes"
revalidate = 0
[views.course]
stack = "curse"
upper = "ephemeral"
quota_by = "disk"
idle = 1
[views.b]
stack = "course"
upper = "shared"
upperdir = "/x"
[views.c]
stack = "course"
owner = "1:1"
[webdav]
as = "foo"
locks = "mandatry"
depth_infinity = 1
[nfs]
lock_grace = 9999
listen = "127.0.0.1:99999"
[exports.x]
view = "d"
door = "ftp"
[exports.y]
view = "b"
door = "nfs"
clients = ["nonsense"]
[exports.z]
door = "webdav"
view = "b"
clients = ["*"]
`),
    [
      '1:1: unknown key `listen`; it belongs in [webdav] or [nfs] or [boot] or [admin] or [metrics]',
      '2:2: unknown table `viewss`; did you mean `views`?',
      '5:9: `layers.Release.path` is missing; add path = "/srv/courses/2026"',
      '5:9: "Release" differs from "release" only in case; rename one',
      '6:1: unknown key `pth`; did you mean `path`?',
      '7:9: "a/b" is not a valid name; use up to 64 letters, digits, . _ and -, starting with a letter, a digit or _',
      '8:8: `layers."a/b".path` must be a path, not 7',
      '9:9: ".." is not a valid name; use up to 64 letters, digits, . _ and -, starting with a letter, a digit or _',
      '10:8: `layers."..".path`: "": a path cannot be empty; use "." for the directory of this file',
      '12:1: unknown key `lowerdirs`; did you mean `layers`?',
      '13:10: there is no layer "relese"; did you mean release?',
      '13:10: the layer "release" is listed twice in this stack; remove one',
      '13:32: `stacks.course.layers` must be a name, not 5',
      '14:1: unknown key `index`; it belongs in [views.NAME]',
      '15:12: `stacks.course.metacopy` must be "on" or "off", not "yes"',
      '16:14: `stacks.course.revalidate` must be "never", "always" or a whole number of seconds from 1 to 86400',
      '17:8: `views.course.quota` is missing: without `directory` the views are in memory; add quota = "SIZE", or directory = "PATH"',
      '18:9: there is no stack "curse"; did you mean course?',
      '20:12: `views.course.quota_by` must be "server" or "filesystem", not "disk"',
      '21:8: `views.course.idle` must be a time, not 1',
      '22:8: `views.b.workdir` is missing; add workdir = "PATH"',
      '28:1: `views.c.owner` has no effect without an upper; remove it, or use upper = "shared"',
      '30:6: `webdav.as`: "foo" is neither UID:GID nor root; use two numbers, for example 1000:1000',
      '31:9: `webdav.locks` must be "advisory" or "mandatory", not "mandatry"; did you mean "mandatory"?',
      '32:18: `webdav.depth_infinity` must be true or false, not 1',
      '34:14: `nfs.lock_grace` must be a whole number of seconds from 1 to 3600, not 9999',
      '35:10: `nfs.listen`: "127.0.0.1:99999": port 99999 is above 65535; use a lower one, or 0 for a free port',
      '37:8: there is no view "d"; did you mean b?',
      '38:8: `exports.x.door` must be "nfs" or "webdav", not "ftp"',
      "42:11: `exports.y.clients`: 'nonsense' is no client",
      '46:1: `exports.z.clients` applies to NFS only; remove it. webdav.listen defines who can reach WebDAV.',
    ],
  )
})

t.test('quotas of the file system need a limit, a directory, and its own grace time', async (t) => {
  const own = (more: string) => errors(`${COURSE}upper = "per-user"\ndirectory = "d"\nquota_by = "filesystem"\n${more}`)
  t.strictSame(own('quota = "1G"\nquota_soft = "900M"\nquota_files = 10\nquota_grace = "7d"\n'), [])
  t.strictSame(own(''), ['10:1: `views.course.quota_by`: there is no limit; add quota = "SIZE"'])
  t.strictSame(own('quota = "1G"\nquota_grace = "1d"\n'), [
    '12:1: `views.course.quota_grace`: the file system has one time for all its projects; set that with setquota -P -t or xfs_quota, and remove this',
  ])
  t.strictSame(errors(`${COURSE}upper = "ephemeral"\nquota = "1G"\nquota_by = "filesystem"\n`), [
    '10:1: `views.course.quota_by`: without `directory` the views are in memory, which has no project quotas; remove it',
  ])
  t.strictSame(errors(`${COURSE}upper = "shared"\ndirectory = "d"\nquota_by = "filesystem"\n`), [
    '10:1: `views.course.quota_by` has an effect only with upper = "per-user", "per-machine" or "ephemeral"; remove it',
  ])
})

t.test('what does not go together is refused by the words of the file', async (t) => {
  t.strictSame(
    errors(`${COURSE}[webdav]\nlisten = "0.0.0.0:80"\n[nfs]\nlisten = "off"\nrpcbind = true\nportmap = true\n`),
    [
      '9:1: `webdav.listen`: 0.0.0.0 can be reached from other machines, and there is no login; use 127.0.0.1, or require client certificates with tls.clients require, or add webdav.insecure_no_auth',
      '12:1: `nfs.rpcbind`: requires NFS; remove it, or remove nfs.listen = "off"',
      '13:1: `nfs.portmap`: requires NFS; remove it, or remove nfs.listen = "off"',
      '13:1: `nfs.portmap`: cannot be combined with nfs.rpcbind; remove one of them',
    ],
  )
  t.strictSame(errors(''), ['1:1: there is no view to serve; add [views.NAME] with a stack'])
  t.match(
    errors(`${COURSE}[exports.x]\nview = "course"\ndoor = "webdav"\n[exports.y]\nview = "course"\ndoor = "webdav"\n`),
    [/^11:10: the view "course" is already exported over WebDAV by \[exports\.x\]; remove one of them$/],
  )
  t.match(errors(`${COURSE}[views.b]\nstack = "course"\n[exports.x]\nview = "b"\ndoor = "nfs"\n`), [
    /^6:8: no export names this view; add \[exports\.NAME\] with view = "course"$/,
  ])
  const twice = 'upper = "shared"\nstack = "course"\ndirectory = "d"\n'
  t.match(errors(`${COURSE}[views.b]\n${twice}[views.c]\n${twice}`), [
    /^15:13: the views "b" and "c" cannot share \/etc\/o\/d\/upper; give each its own directory$/,
    /^15:13: the views "b" and "c" cannot share \/etc\/o\/d\/work/,
  ])
  t.match(errors(`${COURSE}upper = "shared"\ndirectory = "d"\nupperdir = "u"\n`), [
    /^10:1: `views\.course\.upperdir` cannot be combined with `directory`/,
  ])
  t.match(errors(COURSE.replace('[views', 'metacopy = "on"\nredirect_dir = "nofollow"\n[views')), [
    /^6:1: metacopy: cannot be combined with redirect_dir = "nofollow"; use redirect_dir = "on"$/,
  ])
  t.match(errors(`${COURSE}[webdav]\nas = "1000:1000"\n`, { uid: 1001 }), [
    /^9:6: `webdav\.as`: "1000:1000": only root can act as another user \(1000\); remove webdav\.as, or run the server as root$/,
  ])
})

t.test('the limits of views are sizes, numbers and times', async (t) => {
  const views = `${COURSE}upper = "per-user"\ndirectory = "d"\n`
  const limitsOf = (lines: string) => read(views + lines).settings?.views[0]?.template?.quota
  t.equal(limitsOf(''), undefined)
  t.strictSame(limitsOf('quota = "10G"\nquota_soft = "512K"\nquota_files = 7\nquota_grace = "2h"\n'), {
    ...{ hardBytes: 10 * 2 ** 30, softBytes: 512 * 1024, hardFiles: 7, softFiles: undefined },
    graceMs: 7_200_000,
  })
  t.match(limitsOf('quota_files_soft = 5\n'), { softFiles: 5, graceMs: 7 * 86_400_000 })
  for (const wrong of ['quota = "10X"', 'quota = "0"', 'quota_files = 0', 'quota_grace = "7"', 'quota_grace = "400d"'])
    t.equal(errors(`${views}${wrong}\n`).length, 1, wrong)
  t.match(errors(`${COURSE}upper = "shared"\ndirectory = "d"\nquota = "1G"\n`), [
    /^10:1: `views\.course\.quota` has an effect only with upper = "per-user", "per-machine" or "ephemeral"; remove it$/,
  ])
})

t.test('variables are replaced in texts; an unset one is an error with its place', async (t) => {
  const { settings, values } = read(`
[layers.a]
path = "\${RELEASE}/x\${EMPTY}"
[layers.b]
path = "\${NOPE:-/srv/\${x}"
[layers.c]
path = "$\${RELEASE} $ {} \${EMPTY:-y}"
[stacks.s]
layers = ["a", "b", "c"]
[views.v]
stack = "s"
[nfs]
lock_grace = "\${GRACE}"
[webdav]
depth_infinity = "\${FLAG:-false}"
`)
  t.same(settings?.views[0]?.mount?.lowerdir, ['/srv/release/x', `/srv/\${x`, `/etc/o/\${RELEASE} $ {} y`])
  t.match(settings, { lockGraceMs: 30_000, depthInfinity: true })
  t.match(printValues(values), /^path = "\/srv\/release\/x" +# c\.toml:3 \(RELEASE, EMPTY\)$/m)
  t.strictSame(errors(`${COURSE}[server]\nstate_dir = "a\${NOPE}"\nready_file = "\${1x}\${y"\n`), [
    `9:13: the environment variable NOPE is not set; set it, or write \${NOPE:-default}`,
    `10:14: "\${1x}" is not a variable; write \${NAME} or \${NAME:-default}, or $\${ for a plain \${`,
    `10:14: "\${y" is not a variable; write \${NAME} or \${NAME:-default}, or $\${ for a plain \${`,
  ])
  t.match(errors(`${COURSE}[nfs]\nlock_grace = "30"\n`), [/must be a whole number/], 'a text alone is no number')
})

t.test('several syntax errors are told, with what else is wrong', async (t) => {
  t.strictSame(
    errors(`[layers.a]\npath = \n[stacks.s]\nlayers = ["a" "b"]\n[views.v]\nstack = "t\n[log]\nlevel = "loud"\n`),
    [
      '2:8: this is not TOML: invalid value',
      '4:15: this is not TOML: expected comma or end of structure',
      '6:11: this is not TOML: control characters are not allowed in strings',
      '8:9: `log.level` must be "silent", "fatal", "error", "warn", "info", "debug" or "trace", not "loud"',
    ],
  )
})

t.test('the command line counts before the file, and the file before the defaults', async (t) => {
  const text = `${COURSE}[log]\nlevel = "info"\n[nfs]\nlisten = "off"\n`
  const { settings, values } = read(text, { overrides: { '--log-level': ['debug'], '--nfs': ['127.0.0.1:0'] } })
  t.match(settings, { logLevel: 'debug', nfs: { port: 0 } })
  const printed = printValues(values)
  t.match(printed, /^level = "debug" +# command line \(--log-level\)$/m)
  t.match(printed, /^stack = "course" +# c\.toml:7$/m)
  t.match(printed, /^locks = "advisory" +# default$/m)
  t.match(printed, /^# ready_file: none +# default$/m)
  const json = JSON.parse(printValuesAsJson(values)) as { key: string; value: unknown; from: unknown }[]
  t.same(
    json.find(({ key }) => key === 'stacks.course.layers'),
    {
      key: 'stacks.course.layers',
      value: ['release'],
      from: { kind: 'file', file: 'c.toml', line: 5, variables: [] },
    },
  )
  const again = read(printed)
  t.same(again.problems.list(), [], 'what is printed can be read')
  t.same(
    { ...again.settings, views: [] },
    { ...settings, nfs: again.settings?.nfs, webdav: again.settings?.webdav, views: [] },
  )
})

t.test(
  'without a file the defaults are printed; the state directory of others than root is by their environment',
  async (t) => {
    const values = defaultValues({ ...environment, uid: 1000, defaultStateDir: '/home/me/s' }, new Map())
    const printed = printValues(values)
    t.match(printed, /^state_dir = "\/home\/me\/s" +# environment \(XDG_STATE_HOME, HOME\)$/m)
    t.match(printed, /^\[layers\]/)
  },
)
