import { existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { isErrno } from '../../../overlay-core/api/errno.ts'
import { bind, gateLoad, ResultOf, threadsReady, tryCall, tryCalls } from '../../../overlay-core/sys/call.ts'
import { renameStep, unlinkStep } from '../../../overlay-core/sys/dir.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { O_CREAT, O_EXCL, O_PATH, O_RDWR } from '../../../overlay-core/sys/flags.ts'
import { newFile } from '../../../overlay-core/sys/new-file.ts'
import { closeStep, closeSync, openAt, openStep } from '../../../overlay-core/sys/open.ts'
import { statxAt } from '../../../overlay-core/sys/stat.ts'
import { scratchDir } from './scratch-dir.ts'

const getpid = bind<[]>('int getpid()')

/** Makes so many calls that threads of our own are made, and waits until they are ready. */
async function withThreads(t: Test): Promise<{ fd: number; path: string }> {
  const scratch = await scratchDir(t)
  for (let i = 0; i < 300; i++) await tryCall('getpid', getpid)
  const until = performance.now() + 10_000
  while (threadsReady() === 0) {
    if (performance.now() > until) throw new Error('the core makes its calls without threads of its own')
    await new Promise((resolve) => setImmediate(resolve))
  }
  return scratch
}

t.test('thousands of calls on threads end, each with its own result', async (t) => {
  const { fd, path } = await withThreads(t)
  for (let i = 0; i < 200; i++) writeFileSync(`${path}/file-${i}`, '')
  const stats = await Promise.all(Array.from({ length: 5000 }, (_, i) => statxAt(fd, `file-${i % 200}`)))
  t.equal(new Set(stats.map(({ ino }) => ino)).size, 200)
  t.ok(stats.every(({ ino }, i) => ino === stats[i % 200]?.ino))
  t.same(gateLoad(), { inFlight: 0, queued: 0 })
})

t.test('calls are made one after the other, with pauses in which the threads sleep', async (t) => {
  const { fd } = await withThreads(t)
  for (let i = 0; i < 300; i++) {
    const error = await statxAt(fd, `missing-${i}`).catch((error: unknown) => error)
    if (!isErrno(error, 'ENOENT')) t.fail(String(error))
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  t.same(gateLoad(), { inFlight: 0, queued: 0 })
})

t.test('steps are made in order up to the first that fails, and may use results of earlier ones', async (t) => {
  const { fd, path } = await withThreads(t)
  for (const faults of [undefined, { before: () => 0, after: () => undefined }]) {
    setFaultPoints(faults)
    const results = await tryCalls([
      openStep(fd, 'a', O_CREAT | O_EXCL | O_RDWR, 0o640),
      closeStep(new ResultOf(0)),
      renameStep(fd, 'a', fd, 'b'),
      unlinkStep(fd, 'missing'),
      unlinkStep(fd, 'b'),
    ])
    setFaultPoints(undefined)
    t.equal(results.length, 4, 'the last one was not made')
    t.ok((results[0] as number) > 2)
    t.same(results.slice(1), [0, 0, -2])
    t.same(readdirSync(path), ['b'])
    await tryCalls([unlinkStep(fd, 'b')])
  }
})

t.test('a new file has its name with owner and mode, or nothing is left of it', async (t) => {
  const { fd, path } = await withThreads(t)
  mkdirSync(`${path}/below`)
  writeFileSync(`${path}/below/taken`, '')
  const below = await openAt(fd, 'below', O_PATH)
  const make = (name: string, mode: number) =>
    newFile({ dirFd: fd, name, absentFrom: [below] }, mode, { workFd: fd, temp: 'temp', uid: 1000, gid: 2000 })
  closeSync(await make('file', 0o4755))
  closeSync(await newFile({ dirFd: fd, name: 'own', absentFrom: [below] }, 0o640))
  const { uid, gid, mode } = lstatSync(`${path}/file`)
  t.same([uid, gid, mode & 0o7777], [1000, 2000, 0o4755])
  t.equal(await make('file', 0o600), -1, 'the name is taken')
  t.equal(await make('taken', 0o600), -1, 'the name is taken below')
  t.equal(await newFile({ dirFd: fd, name: 'file', absentFrom: [] }, 0o600), -1)
  await t.rejects(async () => await make('n'.repeat(256), 0o600), { code: 'ENAMETOOLONG' })
  closeSync(below)
  t.same(readdirSync(path).sort(), ['below', 'file', 'own'])
})

t.test('calls that wait in the kernel do not block other calls', async (t) => {
  const { fd, path } = await withThreads(t)
  const mkfifo = bind<[path: Uint8Array, mode: number]>('int mkfifo(const void *, uint32_t)')
  await tryCall('mkfifo', mkfifo, Buffer.from(`${path}/fifo\0`), 0o600)
  // An open for reading waits for a writer: more of them than there are threads.
  const waiting = Array.from({ length: 4 }, () => openAt(fd, 'fifo', 0))
  await t.rejects(statxAt(fd, 'missing-1'), { code: 'ENOENT' })
  await t.rejects(statxAt(fd, 'missing-2'), { code: 'ENOENT' })
  const writer = await openAt(fd, 'fifo', O_RDWR)
  for (const reader of await Promise.all(waiting)) closeSync(reader)
  closeSync(writer)
  closeSync(await openAt(fd, '.', O_PATH))
  t.ok(existsSync(`${path}/fifo`))
})
