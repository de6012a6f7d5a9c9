import { closeSync as nodeCloseSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isErrno } from '../../../overlay-core/api/errno.ts'
import { bind, call, gateLoad, tryCall } from '../../../overlay-core/sys/call.ts'
import { O_CREAT, O_EXCL, O_RDWR } from '../../../overlay-core/sys/flags.ts'
import { closeSync, openAt } from '../../../overlay-core/sys/open.ts'
import { nodeCall } from '../../../overlay-core/sys/pool.ts'
import { statxAt } from '../../../overlay-core/sys/stat.ts'
import { scratchDir } from './scratch-dir.ts'

t.test('300 concurrent calls all end, each with its own result', async (t) => {
  const { path, fd } = await scratchDir(t)
  // Not through the gate: it has to be the first calls of this process that are counted, before there are threads for them.
  for (let i = 0; i < 300; i++) writeFileSync(join(path, `file-${i}`), '')
  const calls = Array.from({ length: 300 }, (_, i) => statxAt(fd, `file-${i}`))
  t.ok(gateLoad().inFlight <= 160, 'the calls wait for their turn')
  t.ok(gateLoad().queued > 0)
  const inodes = (await Promise.all(calls)).map((stat) => stat.ino)
  t.equal(new Set(inodes).size, 300)
  t.same(gateLoad(), { inFlight: 0, queued: 0 })
})

t.test('each of many concurrent failures reports its own errno', async (t) => {
  const { fd } = await scratchDir(t)
  closeSync(await openAt(fd, 'file', O_CREAT | O_RDWR, 0o600))
  const cases = [
    { name: 'missing', flags: 0, code: 'ENOENT' },
    { name: 'file/below', flags: 0, code: 'ENOTDIR' },
    { name: 'file', flags: O_CREAT | O_EXCL | O_RDWR, code: 'EEXIST' },
    { name: '..', flags: 0, code: 'EXDEV' },
    { name: 'n'.repeat(256), flags: 0, code: 'ENAMETOOLONG' },
  ] as const
  const codes = await Promise.all(
    Array.from({ length: 500 }, async (_, i) => {
      const { name, flags, code } = cases[i % cases.length]
      const error = await openAt(fd, name, flags, 0o600).catch((error: unknown) => error)
      return `${name.slice(0, 10)}: ${isErrno(error) && error.code === code ? 'right' : error}`
    }),
  )
  t.same(new Set(codes), new Set(cases.map(({ name }) => `${name.slice(0, 10)}: right`)))
})

t.test('an argument that cannot be passed is EINVAL and releases its place', async (t) => {
  const wrong = bind<[value: unknown]>('int abs(int)')
  for (let i = 0; i < 300; i++)
    await t.rejects(async () => await tryCall('abs', wrong, 'text'), { code: 'EINVAL', op: 'abs' })
  const thrown = () => {
    throw new RangeError('refused')
  }
  const all = Array.from({ length: 2000 }, () => nodeCall('op', thrown))
  for (const result of await Promise.allSettled(all)) if (result.status !== 'rejected') t.fail('was not refused')
  t.same(gateLoad(), { inFlight: 0, queued: 0 })
})

t.test('a call interrupted by a signal is repeated', async (t) => {
  let attempts = 0
  const result = await nodeCall('op', (done) => setImmediate(done, ++attempts < 3 ? -4 : 7))
  t.equal(result, 7)
  t.equal(attempts, 3)
  t.same(gateLoad(), { inFlight: 0, queued: 0 })
})

t.test('the arguments of a call stay alive while it waits in the kernel', async (t) => {
  const { path } = await scratchDir(t)
  const mkfifo = bind<[path: Uint8Array, mode: number]>('int mkfifo(const void *, uint32_t)')
  t.equal(await call('mkfifo', undefined, mkfifo, Buffer.from(`${path}/pipe\0`), 0o600), 0)
  const pipe = openSync(`${path}/pipe`, 'r+')
  const read = bind<[fd: number, out: Uint8Array, size: number]>('int64_t read(int, void *, size_t)', false)
  const out = new Uint8Array(8)
  const pending = call('read', undefined, read, pipe, out, 8)
  writeSync(pipe, 'answer')
  t.equal(await pending, 6)
  t.equal(Buffer.from(out.subarray(0, 6)).toString(), 'answer')
  writeSync(pipe, 'x')
  readSync(pipe, Buffer.alloc(1))
  nodeCloseSync(pipe)
})
