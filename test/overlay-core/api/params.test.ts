import t from 'tap'
import { OptionError, parseOptions } from '../../../overlay-core/api/params.ts'

const root = { cwd: '/home/me', privileged: true }
const parse = (text: string) => parseOptions(text, root)

/** The error for `text`; its message starts with the option at fault. */
function refusal(text: string): OptionError {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof OptionError) return error
    throw error
  }
  throw new Error(`accepted: ${text}`)
}

t.test('the classic option string sets layers, upper and workdir, and the defaults', async (t) => {
  t.strictSame(parse('lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work'), {
    lowerdir: ['/lower'],
    datadir: [],
    upperdir: '/upper/upper',
    workdir: '/upper/work',
    redirectDir: 'on',
    index: true,
    metacopy: false,
    xino: 'on',
    userxattr: false,
    volatile: false,
    readOnly: false,
    revalidate: 'never',
    fsync: 'auto',
    uuid: 'auto',
    whiteouts: 'auto',
    lowerWhiteouts: 'auto',
  })
})

t.test('lowers are listed topmost first, data-only ones after a double colon', async (t) => {
  const options = parse('lowerdir=/a:/b::/data1::/data2')
  t.strictSame(options.lowerdir, ['/a', '/b'])
  t.strictSame(options.datadir, ['/data1', '/data2'])
  t.equal(options.upperdir, undefined)
})

t.test('a backslash escapes a colon, a comma and a backslash', async (t) => {
  const options = parse('lowerdir=/a\\:b:/c\\,d:/e\\\\f,upperdir=/up\\,per\\:x,workdir=/w=1')
  t.strictSame(options.lowerdir, ['/a:b', '/c,d', '/e\\f'])
  t.equal(options.upperdir, '/up,per:x')
  t.equal(options.workdir, '/w=1')
  t.strictSame(parse('lowerdir=/a\\\\:/b').lowerdir, ['/a\\', '/b'], 'an escaped backslash does not escape the colon')
  t.strictSame(parse('lowerdir=/a\\').lowerdir, ['/a\\'], 'a lone backslash at the end is itself')
})

t.test('upperdir and workdir are one directory each: their colons need no backslash', async (t) => {
  t.equal(parse('lowerdir=/l,upperdir=/u:1,workdir=/w:2').upperdir, '/u:1')
})

t.test('lowerdir+ and datadir+ add a layer below those before, colons and all', async (t) => {
  const options = parse('lowerdir+=/a:1,lowerdir+=/b,datadir+=/d1,datadir+=/d2:x')
  t.strictSame(options.lowerdir, ['/a:1', '/b'])
  t.strictSame(options.datadir, ['/d1', '/d2:x'])
  t.equal(options.metacopy, true, 'data-only layers switch metacopy on')
  t.strictSame(parse('lowerdir=/a:/b,lowerdir+=/c').lowerdir, ['/a', '/b', '/c'])
})

t.test('the last of repeated options counts', async (t) => {
  const options = parse('lowerdir=/a::/d,lowerdir=/b,index=on,index=off,upperdir=/u,upperdir=/v,workdir=/w,rw,ro,rw')
  t.strictSame(options.lowerdir, ['/b'])
  t.strictSame(options.datadir, [])
  t.equal(options.index, false)
  t.equal(options.upperdir, '/v')
})

t.test('relative paths start at the current directory and keep their dots', async (t) => {
  const options = parse('lowerdir=a:./b:.://c:..:d/../e,upperdir=./././u,workdir=w/')
  t.strictSame(options.lowerdir, ['/home/me/a', '/home/me/b', '/home/me', '//c', '/home/me/..', '/home/me/d/../e'])
  t.equal(options.upperdir, '/home/me/u')
  t.equal(options.workdir, '/home/me/w/')
  t.strictSame(parseOptions('lowerdir=a', { cwd: '/', privileged: true }).lowerdir, ['/a'])
  t.strictSame(parseOptions('lowerdir=a').lowerdir, [`${process.cwd()}/a`], 'without a context: that of the process')
})

t.test('every value of every option with fixed values is accepted', async (t) => {
  for (const word of ['on', 'follow', 'nofollow', 'off'] as const) {
    t.equal(parse(`lowerdir=/a,redirect_dir=${word}`).redirectDir, word)
  }
  for (const word of ['on', 'auto', 'off'] as const) t.equal(parse(`lowerdir=/a,xino=${word}`).xino, word)
  for (const word of ['on', 'auto', 'null', 'off'] as const) t.equal(parse(`lowerdir=/a,uuid=${word}`).uuid, word)
  t.equal(parse('lowerdir=/a,index=off').index, false)
  t.equal(parse('lowerdir=/a,metacopy=on').metacopy, true)
  t.equal(parse('lowerdir=/a,fsync=strict').fsync, 'strict')
  t.equal(parse('lowerdir=/a,fsync=strict').volatile, false)
})

t.test('volatile and fsync=volatile are the same', async (t) => {
  t.match(parse('lowerdir=/a,volatile'), { volatile: true, fsync: 'volatile' })
  t.match(parse('lowerdir=/a,fsync=volatile'), { volatile: true, fsync: 'volatile' })
})

t.test('user.overlay attributes are used if requested, and always without privilege', async (t) => {
  t.equal(parse('lowerdir=/a,userxattr').userxattr, true)
  t.equal(parse('lowerdir=/a').userxattr, false)
  t.equal(parseOptions('lowerdir=/a', { cwd: '/', privileged: false }).userxattr, true)
})

t.test('ro serves the upper as the topmost lower', async (t) => {
  const options = parse('ro,lowerdir=/a:/b,upperdir=/u,workdir=/w')
  t.strictSame(options.lowerdir, ['/u', '/a', '/b'])
  t.equal(options.upperdir, undefined)
  t.equal(options.workdir, undefined)
  t.strictSame(parse('lowerdir=/a,ro').lowerdir, ['/a'])
})

t.test('words of fstab and options that are always in effect change nothing', async (t) => {
  t.strictSame(
    parse('defaults,noatime,,nodev,nosuid,_netdev,x-systemd.automount,nfs_export=on,verity=off,lowerdir=/a,'),
    parse('lowerdir=/a'),
  )
})

t.test('an invalid option string is refused with the option and the correction in one line', async (t) => {
  const cases: [text: string, option: string, says: RegExp][] = [
    ['', 'lowerdir', /missing/],
    ['upperdir=/u,workdir=/w', 'lowerdir', /missing/],
    ['lowerdir', 'lowerdir', /needs a directory/],
    ['lowerdir=', 'lowerdir', /needs a directory/],
    ['lowerdir=:/a', 'lowerdir', /starts with a colon/],
    ['lowerdir=/a:', 'lowerdir', /ends with a colon/],
    ['lowerdir=/a::', 'lowerdir', /ends with a colon/],
    ['lowerdir=/a:::/b', 'lowerdir', /three colons/],
    ['lowerdir=::/b', 'lowerdir', /starts with a colon/],
    ['lowerdir=/a::/d:/b', 'lowerdir', /a regular layer after a data-only/],
    ['lowerdir=/a,datadir+=/d,lowerdir+=/b', 'lowerdir+', /a regular layer after a data-only/],
    ['datadir+=/d', 'lowerdir', /at least one regular layer/],
    ['lowerdir+=', 'lowerdir+', /needs a directory/],
    ['lowerdir=/a\0b', 'lowerdir', /NUL/],
    ['lowerdir=/a,upperdir=/u', 'workdir', /missing/],
    ['lowerdir=/a,workdir=/w', 'workdir', /add upperdir=DIR/],
    ['lowerdir=/a,upperdir=,workdir=/w', 'upperdir', /needs a directory/],
    ['lowerdr=/a', 'lowerdr', /did you mean lowerdir\?/],
    ['lowerdir=/a,redirectdir=on', 'redirectdir', /did you mean redirect_dir\?/],
    ['lowerdir=/a,zzzzzzzz=on', 'zzzzzzzz', /unknown option$/],
    ['lowerdir=/a,=x', '', /unknown option/],
    ['lowerdir=/a,index', 'index', /needs a value; use on or off/],
    ['lowerdir=/a,index=yes', 'index', /cannot be "yes"; use on or off/],
    ['lowerdir=/a,redirect_dir=maybe', 'redirect_dir', /use on, follow, nofollow or off/],
    ['lowerdir=/a,verity=require', 'verity', /cannot be checked/],
    ['lowerdir=/a,userxattr=on', 'userxattr', /takes no value/],
    ['lowerdir=/a,volatile=1', 'volatile', /takes no value/],
    ['lowerdir=/a::/d,metacopy=off', 'metacopy', /data-only layers need it/],
    ['lowerdir=/a,upperdir=/u,workdir=/w,metacopy=on,redirect_dir=off', 'metacopy', /redirect_dir=off; use/],
    ['lowerdir=/a,metacopy=on,redirect_dir=nofollow', 'metacopy', /redirect_dir=nofollow; use/],
    ['lowerdir=/a,metacopy=on,userxattr', 'metacopy', /userxattr/],
    ['lowerdir=/a,upperdir=/u,workdir=/w,nfs_export=on,index=off', 'nfs_export', /index=off/],
    ['lowerdir=/a,upperdir=/u,workdir=/w,nfs_export=on,metacopy=on', 'nfs_export', /metacopy=on/],
    ['lowerdir=/a,upperdir=/u,workdir=/w,metacopy=on,redirect_dir=follow', 'metacopy', /redirect_dir=follow/],
    [`lowerdir=/a${':/b'.repeat(500)}`, 'lowerdir', /more than 500 layers/],
  ]
  for (const [text, option, says] of cases) {
    const error = refusal(text)
    t.equal(error.option, option, `${text.slice(0, 60)} names ${option}`)
    t.match(error.message, says)
    t.ok(error.message.startsWith(`${option}: `))
    t.notMatch(error.message, /\n/)
  }
})

t.test('500 layers and metadata-only copies of a read-only overlay that follows redirects are fine', async (t) => {
  t.equal(parse(`lowerdir=/a${':/b'.repeat(499)}`).lowerdir.length, 500)
  t.equal(parse('lowerdir=/a,metacopy=on,redirect_dir=follow').metacopy, true)
})
