import { readdirSync, rmSync } from 'node:fs'
import t, { type Test } from 'tap'
import { bind, ResultOf, setThreadFault, threadsReady, tryCall, tryCalls } from '../../../overlay-core/sys/call.ts'
import { CallThreads, type ThreadStep } from '../../../overlay-core/sys/call-threads.ts'
import { renameStep, unlinkStep } from '../../../overlay-core/sys/dir.ts'
import { O_CREAT, O_EXCL, O_RDWR } from '../../../overlay-core/sys/flags.ts'
import { newFile } from '../../../overlay-core/sys/new-file.ts'
import { closeStep, closeSync, openStep } from '../../../overlay-core/sys/open.ts'
import { startFile } from '../../../overlay-core/sys/staged-file.ts'
import { Fault } from '../../../overlay-core/sys/thread-layout.ts'
import { scratchDir } from './scratch-dir.ts'

const ENOENT = 2
const EIO = 5
const ENOSPC = 28

const getpid = bind<[]>('int getpid()')

// That threads end is warned of; here it is meant.
process.removeAllListeners('warning')
process.on('warning', () => undefined)

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** A folder, and threads that are ready and at rest. */
async function withThreads(t: Test): Promise<{ fd: number; path: string }> {
  const scratch = await scratchDir(t)
  for (let i = 0; i < 300; i++) await tryCall('getpid', getpid)
  while (threadsReady() < 2) await turn()
  return scratch
}

/** Runs `attempt` until the fault strikes: when the threads are slow the pool makes the calls in their stead. */
async function struckIn<T>(
  point: number,
  fault: number,
  attempt: () => T | Promise<T>,
  undo: (result: T) => void,
): Promise<T> {
  for (;;) {
    while (threadsReady() < 2) await turn()
    setThreadFault(point, fault)
    const result = await attempt()
    if (setThreadFault(0, 0) === 0) return result
    undo(result)
  }
}

const openFiles = () => readdirSync('/proc/self/fd').length

t.test('a thread that dies between two steps of a trip is replaced, and the trip continues', async (t) => {
  const { fd, path } = await withThreads(t)
  const trip = () =>
    tryCalls([
      openStep(fd, 'a', O_CREAT | O_EXCL | O_RDWR, 0o640),
      closeStep(new ResultOf(0)),
      renameStep(fd, 'a', fd, 'b'),
      unlinkStep(fd, 'missing'),
    ])
  for (let step = 0; step < 4; step++) {
    const results = await struckIn(2 * step + 1, Fault.endThread, trip, () => rmSync(`${path}/b`))
    t.same(results.slice(1), [0, 0, -ENOENT], `before step ${step}`)
    t.same(readdirSync(path), ['b'])
    rmSync(`${path}/b`)
  }
  while (threadsReady() < 2) await turn()
  t.equal(await tryCall('getpid', getpid), process.pid)
})

t.test('a call in which a thread dies fails with EIO, because it is unknown whether it was made', async (t) => {
  const { fd, path } = await withThreads(t)
  const trip = () => tryCalls([openStep(fd, 'a', O_CREAT | O_EXCL, 0o640), renameStep(fd, 'a', fd, 'b')])
  const undo = (results: readonly number[]) => {
    closeSync(results[0] as number)
    rmSync(`${path}/b`)
  }
  for (const [step, name] of ['a', 'b'].entries()) {
    const results = await struckIn(2 * step + 2, Fault.endThread, trip, undo)
    t.equal(results.length, step + 1)
    t.equal(results.at(-1), -EIO)
    t.same(readdirSync(path), [name])
    rmSync(`${path}/${name}`)
  }
})

t.test('calls on other threads and waiting calls continue when a thread dies', async (t) => {
  await withThreads(t)
  const calls = () => Promise.all(Array.from({ length: 200 }, () => tryCall('getpid', getpid)))
  const results = await struckIn(100, Fault.endThread, calls, () => undefined)
  const made = results.filter((result) => result === process.pid).length
  t.ok(made >= 199, `${made} made`)
  t.ok(made === 200 || results.includes(-EIO))
})

t.test('when threads keep dying, waiting calls are made elsewhere', async (t) => {
  const pid: ThreadStep = { number: 0, flags: 0, args: [] }
  const threads = new CallThreads<number>(
    ['int getpid()'],
    (kept, _results, returned) => {
      returned([kept])
    },
    0,
  )
  const make = () => new Promise<readonly number[]>((resolve) => threads.send([pid], 42, resolve))
  while (!threads.free) await turn()
  while (threads.free) {
    threads.setFault(2, Fault.endThread)
    const [result] = await make()
    // Slow threads count as stuck, and then what waits for them is made elsewhere too.
    t.ok(result === -EIO || result === 42)
    await turn()
  }
  t.equal(threads.ready, 0)
  t.same(await make(), [42])
})

t.test('a new file with any failing step reports the errno and leaves nothing', async (t) => {
  const { fd, path } = await withThreads(t)
  const owner = { uid: 1000, gid: 2000 }
  const aside = { workFd: fd, temp: 'temp', ...owner }
  const makers: [string, number, () => number | Promise<number>][] = [
    ['in place', 1, () => newFile({ dirFd: fd, name: 'file', absentFrom: [] }, 0o640)],
    ['aside', 5, () => newFile({ dirFd: fd, name: 'file', absentFrom: [fd] }, 0o640, aside)],
    ['staged', 3, async () => (await startFile(fd, 'file', 0o600, owner, Buffer.from('content'))).fd],
  ]
  for (const [name, steps, make] of makers) {
    const failing = async () => {
      try {
        closeSync(await make())
        return undefined
      } catch (error) {
        return error
      }
    }
    const undo = () => rmSync(`${path}/file`)
    const before = openFiles()
    for (let step = 0; step < steps; step++) {
      const error = await struckIn(2 * step + 1, ENOSPC, failing, undo)
      t.match(error, { code: 'ENOSPC' }, `${name}, step ${step} of ${steps}`)
      t.same(readdirSync(path), [])
      t.equal(openFiles(), before)
    }
  }
})

t.test('steps after one that fails are not made', async (t) => {
  const { fd, path } = await withThreads(t)
  const trip = () =>
    tryCalls([openStep(fd, 'a', O_CREAT | O_EXCL, 0o640), renameStep(fd, 'a', fd, 'b'), unlinkStep(fd, 'b')])
  const results = await struckIn(3, ENOSPC, trip, ([file]) => closeSync(file as number))
  t.same(results.slice(1), [-ENOSPC])
  t.same(readdirSync(path), ['a'])
  closeSync(results[0] as number)
})
