import { readdirSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { freePorts, run } from './launch.ts'

/** Everything below `dir`, as sorted paths. */
function tree(dir: string): string[] {
  return readdirSync(dir, { recursive: true }).map(String).sort()
}

t.setTimeout(300_000)

t.test('a wrong option or directory: exit 2, one line that names it and the mend, nothing created', async (t) => {
  const cwd = t.testdir({
    lower: { sub: {}, file: 'x' },
    other: {},
    upper: { inside: {} },
    work: {},
    full: { file: 'someone else’s' },
    file: 'not a directory',
  })
  const busy = createServer()
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => busy.close())
  const { port } = busy.address() as { port: number }
  const o = 'lowerdir=lower,upperdir=upper,workdir=work'
  const cases: [args: string[], says: RegExp][] = [
    [[], /-o: is missing/],
    [['-o', o, '--nope'], /--nope: unknown option/],
    [['-o', o, '--webdav', '0.0.0.0:0'], /--webdav: .*--insecure-no-auth/],
    [['-o', o, '--webdav', `127.0.0.1:${port}`], /--webdav: 127\.0\.0\.1:\d+ is in use; choose another/],
    [['-o', o, '--nfs', `127.0.0.1:${port}`], /--nfs: 127\.0\.0\.1:\d+ is in use; choose another/],
    [['-o', o, '--nfs', '192.0.2.1:0'], /--nfs: 192\.0\.2\.1 is not an address of this machine/],
    [['-o', o, '--export', '127.0.0.1(rw'], /--export: .*127\.0\.0\.1\(rw/],
    [['-o', o, '--export', '*(read)'], /--export: .*read/],
    [['-o', o, '--ready-file', 'nowhere/ready'], /--ready-file: .*nowhere does not exist/],
    [['-o', o, '--state-dir', 'file'], /--state-dir: .*file is not a directory/],
    [['-o', o, '--state-dir', 'file/below'], /--state-dir: /],
    [['-o', o, 'bad name'], /NAME: "bad name"/],
    [['-o', `${o},nope=1`], /-o nope: unknown option/],
    [['-o', 'lowerdir=nowhere,upperdir=upper,workdir=work'], /-o lowerdir: .*nowhere/],
    [['-o', 'lowerdir=lower:nowhere'], /-o lowerdir: .*nowhere/],
    [['-o', 'lowerdir=file'], /-o lowerdir: .*file/],
    [['-o', 'lowerdir=lower,upperdir=nowhere,workdir=work'], /-o upperdir: .*nowhere/],
    [['-o', 'lowerdir=lower,upperdir=file,workdir=work'], /-o upperdir: .*file/],
    [['-o', 'lowerdir=lower,upperdir=upper,workdir=nowhere'], /-o workdir: .*nowhere/],
    [['-o', 'lowerdir=lower,upperdir=upper,workdir=file'], /-o workdir: .*file/],
    [['-o', 'lowerdir=lower,upperdir=upper,workdir=full'], /-o workdir: .*full/],
    [['-o', 'lowerdir=lower,upperdir=upper,workdir=/dev/shm'], /-o workdir: .*file system/],
    [['-o', 'lowerdir=lower,upperdir=upper,workdir=upper'], /-o (upper|work)dir: /],
    [['-o', 'lowerdir=lower,upperdir=upper,workdir=upper/inside'], /-o (upper|work)dir: .*inside/],
    [['-o', 'lowerdir=lower,upperdir=work,workdir=work/../work'], /-o (upper|work)dir: /],
    [['-o', 'lowerdir=lower,upperdir=lower,workdir=work'], /-o (lower|upper)dir: /],
    [['-o', 'lowerdir=lower,upperdir=lower/sub,workdir=work'], /-o (lower|upper)dir: /],
  ]
  const before = tree(cwd)
  for (const [args, says] of cases) {
    const { status, stdout, stderr } = await run([...freePorts('state'), ...args], { cwd })
    const line = args.join(' ') || 'nothing'
    t.equal(status, 2, line)
    t.match(stderr, says)
    t.match(stderr, /^overlayd: [^\n]+\n$/, 'one line')
    t.equal(stdout, '')
    t.same(tree(cwd), before, 'nothing was created')
  }
})

t.test('control characters in what was typed do not reach the terminal', async (t) => {
  const { status, stderr } = await run(['-o', 'lowerdir=/\x1b[31m\nnowhere', ...freePorts(join(t.testdir(), 'state'))])
  t.equal(status, 2)
  t.match(stderr, /^overlayd: [^\p{Cc}]+\n$/u)
})

t.test(
  'a directory that the user may not read is refused by name',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async (t) => {
    const dir = await mkdtemp('/tmp/overlayd-unreadable-')
    t.teardown(() => rm(dir, { recursive: true }))
    await chmod(dir, 0o777)
    await mkdir(join(dir, 'secret'), { mode: 0o700 })
    const { status, stderr } = await run(['-o', `lowerdir=${dir}/secret`, ...freePorts(join(dir, 'state'))], {
      uid: 65_534,
      cwd: '/',
    })
    t.equal(status, 2)
    t.match(stderr, /^overlayd: -o lowerdir: [^\n]*secret[^\n]*\n$/)
    t.same(readdirSync(dir), ['secret'])
  },
)
