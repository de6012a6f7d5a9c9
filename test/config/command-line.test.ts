import t from 'tap'
import { helpOn } from '../../config/help.ts'
import { type Environment, helpText, parseCommandLine, type Settings } from '../../config/index.ts'
import { OVERLAY_OPTIONS } from '../../config/mount-words.ts'
import { SERVE_OPTIONS, STATUS_OPTIONS } from '../../config/schema.ts'
import { OptionError } from '../../overlay-core/index.ts'

const environment: Environment = { cwd: '/home/me', uid: 1000, defaultStateDir: '/home/me/.local/state/overlayd' }

/** What a server run is told by the words of `line`. */
function settings(line: string): Settings {
  const command = parseCommandLine(line.split(' '), environment)
  if (command.kind !== 'serve') throw new Error(`${line} asks for ${command.kind}`)
  return command.settings
}

t.test('one -o is enough: everything else has a default', async (t) => {
  const { views, ...rest } = settings('-o lowerdir=/l,upperdir=/u,workdir=/w')
  t.equal(views.length, 1)
  t.match(views[0], {
    name: 'overlay',
    exports: ['127.0.0.1(rw,root_squash,insecure,sync)'],
    exportsGiven: false,
    mount: { lowerdir: ['/l'], upperdir: '/u', workdir: '/w', userxattr: true },
  })
  t.strictSame(rest, {
    webdav: { host: '127.0.0.1', port: 8080, given: false },
    nfs: { host: '127.0.0.1', port: 2049, given: false },
    as: undefined,
    locks: 'advisory',
    symlinks: 'follow',
    depthInfinity: false,
    insecureNoAuth: false,
    publicUrls: [],
    trustedProxies: [],
    tls: undefined,
    manageGids: false,
    portmap: false,
    lockGraceMs: 45_000,
    rpcbind: false,
    logLevel: 'warn',
    stateDir: '/home/me/.local/state/overlayd',
    readyFile: undefined,
  })
})

t.test('run by root, the default export takes calls only from ports that root sends from', (t) => {
  const command = parseCommandLine(['-o', 'lowerdir=/l'], { ...environment, uid: 0 })
  t.match(command, {
    settings: { views: [{ exports: ['127.0.0.1(rw,root_squash,secure,sync)'], exportsGiven: false }] },
  })
  t.end()
})

t.test('every option is understood, with a blank or an equals sign before its value', async (t) => {
  const { views, ...rest } = settings(
    'tree -olowerdir=a -o upperdir=u,workdir=w --webdav=[::1]:0 --nfs 0.0.0.0:12049 --export 10.0.0.0/8(ro) --export=*(rw) ' +
      '--as 1000:100 --rpcbind --lock-grace=90 --log-level debug --state-dir state --ready-file=ready.json --insecure-no-auth --locks mandatory --symlinks hide --depth-infinity ' +
      '--public-url https://Files.example.org/tree/ --public-url=http://10.0.0.5:8088 --trusted-proxy 127.0.0.1 --trusted-proxy=fd00::/8 ' +
      '--tls server.pem,/k/server.key --tls-client-ca=ca.pem --tls-clients require --tls-revoked /k/revoked.pem',
  )
  t.match(views[0], { name: 'tree', exports: ['10.0.0.0/8(ro)', '*(rw)'], exportsGiven: true })
  t.match(views[0]?.mount, { lowerdir: ['/home/me/a'], upperdir: '/home/me/u', workdir: '/home/me/w' })
  t.strictSame(rest, {
    webdav: { host: '::1', port: 0, given: true },
    nfs: { host: '0.0.0.0', port: 12049, given: true },
    as: { uid: 1000, gid: 100 },
    locks: 'mandatory',
    symlinks: 'hide',
    depthInfinity: true,
    insecureNoAuth: true,
    publicUrls: ['https://files.example.org', 'http://10.0.0.5:8088'],
    trustedProxies: [
      { address: '127.0.0.1', bits: 32, family: 'ipv4' },
      { address: 'fd00::', bits: 8, family: 'ipv6' },
    ],
    manageGids: false,
    portmap: false,
    lockGraceMs: 90_000,
    tls: {
      own: { certificate: '/home/me/server.pem', key: '/k/server.key' },
      clientCa: '/home/me/ca.pem',
      clients: 'require',
      revoked: '/k/revoked.pem',
    },
    rpcbind: true,
    logLevel: 'debug',
    stateDir: '/home/me/state',
    readyFile: '/home/me/ready.json',
  })
})

t.test('of an option given twice the last counts', async (t) => {
  t.equal(settings('-o lowerdir=/l --log-level info --log-level error').logLevel, 'error')
})

t.test('off closes a door, localhost is 127.0.0.1 and * every address', async (t) => {
  t.equal(settings('-o lowerdir=/l --webdav off').webdav, undefined)
  t.equal(settings('-o lowerdir=/l --nfs off').nfs, undefined)
  t.equal(settings('-o lowerdir=/l --webdav localhost:80').webdav?.host, '127.0.0.1')
  t.equal(settings('-o lowerdir=/l --nfs *:2049').nfs?.host, '0.0.0.0')
})

t.test('the sample is served when asked for and no overlay is named', async (t) => {
  t.equal(settings('--sample').views[0]?.mount, undefined)
  t.strictSame(settings('--sample -o lowerdir=/l').views[0]?.mount?.lowerdir, ['/l'])
})

t.test('help, version and status are asked for by their words', async (t) => {
  for (const line of ['--help', '-h', 'help', '-o lowerdir=/l --help']) {
    t.same(parseCommandLine(line.split(' '), environment), { kind: 'help', text: helpText() }, line)
  }
  for (const command of ['status', 'remount']) {
    t.same(parseCommandLine([command, '--help'], environment), { kind: 'help', text: helpOn(command) })
  }
  t.same(parseCommandLine(['--version'], environment), { kind: 'version' })
  t.same(parseCommandLine(['status'], environment), {
    kind: 'status',
    settings: { url: undefined, json: false, stateDir: environment.defaultStateDir },
  })
  t.same(parseCommandLine(['status', '--url', 'http://[::1]:81', '--json', '--state-dir', '/s'], environment), {
    kind: 'status',
    settings: { url: 'http://[::1]:81', json: true, stateDir: '/s' },
  })
  t.same(
    parseCommandLine(['remount', '-o', 'ro', '-o', 'xino=on', 'tree', '--pid=7', '--state-dir', '/s'], environment),
    {
      kind: 'remount',
      settings: { options: 'ro,xino=on', cwd: environment.cwd, view: 'tree', pid: 7, stateDir: '/s' },
    },
  )
  t.equal(settings('-o lowerdir=/l status').views[0]?.name, 'status', 'an overlay may be called status')
})

t.test('a wrong command line is refused in one line that names the option and the mend', async (t) => {
  const cases: [argv: string[], says: RegExp][] = [
    [[], /^-o: is missing; use -o lowerdir=DIR.*--sample/],
    [['-o'], /^-o: needs a value/],
    [['-o', '--nfs'], /^-o: needs a value/],
    [['-o', 'lowerdir=/l', '--webdav'], /^--webdav: needs a value: --webdav HOST:PORT/],
    [['-o', 'lowerdir=/l', '--webdaf', 'off'], /^--webdaf: unknown option; did you mean --webdav\?/],
    [['-o', 'lowerdir=/l', '-x'], /^-x: unknown option/],
    [['-o', 'lowerdir=/l', '--rpcbind=yes'], /^--rpcbind: takes no value/],
    [['-o', 'lowerdir=/l,upperdir=/u'], /^-o workdir: is missing; add workdir=DIR/],
    [['-o', 'lowerdri=/l'], /^-o lowerdri: unknown option; did you mean lowerdir\?/],
    [['-o', 'lowerdir=/l', 'a', 'b'], /^NAME: an overlay has one name; keep one of "a", "b"/],
    [['-o', 'lowerdir=/l', 'a/b'], /^NAME: "a\/b" is not a valid name/],
    [['-o', 'lowerdir=/l', '..'], /^NAME: /],
    [['-o', 'lowerdir=/l', ''], /^NAME: /],
    [['-o', 'lowerdir=/l', '--', '-'], /^NAME: "-"/],
    [['-o', 'lowerdir=/l', 'x'.repeat(65)], /^NAME: /],
    [['-o', 'lowerdir=/l', '--webdav', '8080'], /^--webdav: "8080" is not HOST:PORT/],
    [['-o', 'lowerdir=/l', '--webdav', ':8080'], /^--webdav: ":8080" is not HOST:PORT/],
    [['-o', 'lowerdir=/l', '--webdav', '::1:8080'], /^--webdav: "::1:8080" is not HOST:PORT; use .*\[::1\]:8080/],
    [['-o', 'lowerdir=/l', '--webdav', '[host]:8080'], /^--webdav: /],
    [['-o', 'lowerdir=/l', '--nfs', '127.0.0.1:65536'], /^--nfs: port 65536 is above 65535/],
    [['-o', 'lowerdir=/l', '--nfs', 'a b:1'], /^--nfs: "a b" is not a host name/],
    [['-o', 'lowerdir=/l', '--webdav', '0.0.0.0:8080'], /^--webdav: 0\.0\.0\.0 can be reached.*--insecure-no-auth/],
    [['-o', 'lowerdir=/l', '--webdav', '[::]:8080'], /^--webdav: ::.*--insecure-no-auth/],
    [['-o', 'lowerdir=/l', '--webdav', '192.168.1.1:8080'], /--insecure-no-auth/],
    [['-o', 'lowerdir=/l', '--webdav', 'example.org:8080'], /--insecure-no-auth/],
    [['-o', 'lowerdir=/l', '--webdav', '127.evil.example:8080'], /--insecure-no-auth/],
    [['-o', 'lowerdir=/l', '--webdav', 'off', '--nfs', 'off'], /^--nfs: off together with --webdav off/],
    [
      ['-o', 'lowerdir=/l', '--webdav', '127.0.0.1:99', '--nfs', '127.0.0.1:99'],
      /^--nfs: 127\.0\.0\.1:99 is taken by --webdav/,
    ],
    [['-o', 'lowerdir=/l', '--nfs', 'off', '--rpcbind'], /^--rpcbind: requires NFS/],
    [['-o', 'lowerdir=/l', '--nfs', 'off', '--portmap'], /^--portmap: requires NFS/],
    [['-o', 'lowerdir=/l', '--portmap', '--rpcbind'], /^--portmap: cannot be combined with --rpcbind/],
    [['-o', 'lowerdir=/l', '--lock-grace', '0'], /^--lock-grace: "0" is not a number of seconds/],
    [['-o', 'lowerdir=/l', '--lock-grace', '1h'], /^--lock-grace: "1h" is not a number of seconds/],
    [['-o', 'lowerdir=/l', '--as', 'somebody'], /^--as: "somebody" is neither UID:GID nor root/],
    [['-o', 'lowerdir=/l', '--as', 'root'], /^--as: only root can act as another user \(0\); remove --as/],
    [['-o', 'lowerdir=/l', '--as', '1000'], /^--as: /],
    [['-o', 'lowerdir=/l', '--as', '4294967295:0'], /^--as: /],
    [['-o', 'lowerdir=/l', '--as', '0:0'], /^--as: only root can act as another user \(0\); remove --as/],
    [['-o', 'lowerdir=/l', '--as', '-1:0'], /^--as: /],
    [
      ['-o', 'lowerdir=/l', '--public-url', 'files.example.org'],
      /^--public-url: "files.example.org" is not a URL; use https/,
    ],
    [['-o', 'lowerdir=/l', '--public-url', 'ftp://a.example'], /^--public-url: .* is not a URL/],
    [
      ['-o', 'lowerdir=/l', '--public-url', 'https://a.example/dav/'],
      /^--public-url: .* has a path; .*https:\/\/a\.example$/,
    ],
    [
      ['-o', 'lowerdir=/l', '--public-url', 'https://me:pw@a.example/'],
      /^--public-url: .* has more than a host and a port/,
    ],
    [
      ['-o', 'lowerdir=/l', '--trusted-proxy', 'proxy.example'],
      /^--trusted-proxy: "proxy.example" is neither an address/,
    ],
    [['-o', 'lowerdir=/l', '--trusted-proxy', '10.0.0.0/33'], /^--trusted-proxy: /],
    [['-o', 'lowerdir=/l', '--trusted-proxy', '10.0.0.0/'], /^--trusted-proxy: /],
    [['-o', 'lowerdir=/l', '--log-level', 'loud'], /^--log-level: "loud" is not a log level; use silent, /],
    [['remount'], /^-o: is missing; add the options to change/],
    [['remount', '-o', 'ro', '--pid', 'x'], /^--pid: "x" is not a process id; use a number from overlayd status/],
    [['remount', '-o', 'ro', 'a', 'b'], /^NAME: an overlay has one name/],
    [['remount', '-o', 'ro', '--json'], /^--json: unknown option/],
    [['help', 'revalidat'], /^revalidat: unknown topic of overlayd help; did you mean revalidate\?/],
    [['help', '--webdaf'], /^--webdaf: unknown topic of overlayd help; did you mean --webdav\?/],
    [['help', 'quantum physics'], /^quantum physics: unknown topic of overlayd help/],
    [['help', 'status', 'now'], /^help: takes one topic; remove "now"/],
    [['--o', 'lowerdir=/l'], /^--o: unknown option; did you mean -o\?/],
    [['-o', 'lowerdir=/l', '-hx'], /^-x: unknown option/],
    [['-o', 'lowerdir=/l', '--webdav='], /^--webdav: needs a value/],
    [['-o', 'lowerdir=/l', '--constructor'], /^--constructor: unknown option/],
    [['-o', 'lowerdir=/l', '--__proto__=1'], /^--__proto__: unknown option/],
    [['status', 'now'], /^status: takes no arguments/],
    [['status', '--url', 'ftp://x'], /^--url: "ftp:\/\/x" is not a URL/],
    [['status', '--nfs', 'off'], /^--nfs: unknown option/],
  ]
  for (const [argv, says] of cases) {
    try {
      parseCommandLine(argv, environment)
      t.fail(`accepted: ${argv.join(' ')}`)
    } catch (error) {
      t.type(error, OptionError)
      t.match((error as Error).message, says)
      t.notMatch((error as Error).message, /\n/)
    }
  }
})

t.test('help tells the whole in short, and a topic or an option in full', async (t) => {
  const text = helpText()
  for (const { name } of SERVE_OPTIONS) t.ok(text.includes(`  ${name}`) || text.includes(`, ${name}`), name)
  for (const part of ['USAGE', 'EXAMPLE', '[127.0.0.1:8080]', 'overlayd help manual']) t.ok(text.includes(part), part)
  const help = (line: string) => (parseCommandLine(line.split(' '), environment) as { text: string }).text
  t.match(help('help --export'), /^ {2}--export CLIENT\(OPTION\[,OPTION…\]\)\n {6}Who may mount/)
  t.match(help('help export'), /overlayd export .*Who may mount/s, 'the command, then the option')
  for (const spelling of ['help manage-gids', '--help --manage-gids', '-h manage-gids', '--help manage-gids'])
    t.equal(help(spelling), help('help --manage-gids'), spelling)
  t.match(help('help lowerdir=/a'), /^ {2}lowerdir=DIR/)
  t.match(help('help exit-status'), /^EXIT STATUS\n {2}0\n {6}A signal stopped the server/)
  t.match(help('help -V'), /^ {2}-V, --version\n/)
  const manual = help('help manual')
  for (const { name } of [...SERVE_OPTIONS, ...STATUS_OPTIONS, ...OVERLAY_OPTIONS]) t.ok(manual.includes(name), name)
  t.equal(settings('-o lowerdir=/l help').views[0]?.name, 'help', 'an overlay may be called help')
})

t.test('commands about configuration files are told from overlays that have their names', async (t) => {
  const parse = (line: string) => parseCommandLine(line.split(' '), environment)
  t.match(parse('serve --config o/c.toml --log-level debug'), {
    kind: 'serve-config',
    config: { name: 'o/c.toml', path: '/home/me/o/c.toml', overrides: new Map([['--log-level', ['debug']]]) },
  })
  t.match(parse('config check ./c.toml'), {
    kind: 'config-check',
    config: { name: './c.toml', path: '/home/me/c.toml' },
  })
  t.match(parse('config print --json'), { kind: 'config-print', print: { json: true, config: undefined } })
  for (const name of ['serve', 'config', 'reload', 'init'])
    t.equal(settings(`${name} -o lowerdir=/l`).views[0]?.name, name)
  for (const line of [
    'serve --help',
    'config --help',
    'config check -h',
    'config print -h',
    'help serve',
    'help config',
  ])
    t.equal(parse(line).kind, 'help', line)
  const refused = {
    serve: /^--config: is missing/,
    'serve --config': /^--config: needs a value/,
    'serve --config a b': /^serve: takes no further word/,
    'serve --config a --export *(ro)': /^--export: unknown option/,
    '--config a': /^--config: goes with a command; say overlayd serve --config FILE$/,
    config: /^config: needs a word more/,
    'config chek a': /^chek: unknown word after config; did you mean check\?$/,
    'config check': /^FILE: is missing/,
    'config check a b': /^config check: takes no further word/,
    'config print --jsn': /^--jsn: unknown option; did you mean --json\?$/,
  }
  for (const [line, message] of Object.entries(refused)) t.throws(() => parse(line), { message }, line)
})
