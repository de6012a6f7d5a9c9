import { existsSync } from 'node:fs'
import t from 'tap'
import { mkdirAt } from '../../../overlay-core/sys/dir.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { O_PATH } from '../../../overlay-core/sys/flags.ts'
import { closeSync, openAtCached, openRoot } from '../../../overlay-core/sys/open.ts'
import { scratchDir } from './scratch-dir.ts'

const EINTR = 4
const ENOSPC = 28
const EMFILE = 24

t.afterEach(() => setFaultPoints(undefined))

t.test('an injected errno is reported, and the call is not made', async (t) => {
  const { path, fd } = await scratchDir(t)
  const ended: string[] = []
  setFaultPoints({ before: (op) => (op === 'mkdirat' ? ENOSPC : 0), after: (op) => void ended.push(op) })
  await t.rejects(mkdirAt(fd, 'a', 0o700), { code: 'ENOSPC', op: 'mkdirat' })
  t.notOk(existsSync(`${path}/a`))
  t.same(ended, [])
  setFaultPoints(undefined)
  await mkdirAt(fd, 'a', 0o700)
  t.ok(existsSync(`${path}/a`))
})

t.test('a call that is let through is reported with its arguments and its result', async (t) => {
  const { path } = await scratchDir(t)
  const seen: unknown[] = []
  setFaultPoints({
    before: () => 0,
    after: (op, args, result) =>
      void seen.push([op, Buffer.from(args[1] as Uint8Array).toString('latin1'), result >= 0]),
  })
  closeSync(await openRoot(path))
  t.same(seen[0], ['open', `${path}\0`, true])
  t.match(seen.slice(1), [['fstatfs', String, true]], 'and it is looked at which file system it is')
})

t.test('an interrupted call is repeated, and the fault point is called again', async (t) => {
  const { path, fd } = await scratchDir(t)
  let asked = 0
  setFaultPoints({ before: () => (++asked < 3 ? EINTR : 0), after: () => undefined })
  await mkdirAt(fd, 'a', 0o700)
  t.equal(asked, 3)
  t.ok(existsSync(`${path}/a`))
})

t.test('synchronous calls have fault points too', async (t) => {
  const { fd } = await scratchDir(t)
  setFaultPoints({ before: (op) => (op === 'openat2' ? EMFILE : 0), after: () => undefined })
  t.throws(() => openAtCached(fd, 'a', O_PATH), { code: 'EMFILE' })
})
