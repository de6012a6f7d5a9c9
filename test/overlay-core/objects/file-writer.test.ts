import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { ChangeInfo } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { WRITES_LISTS } from '../../../overlay-core/sys/write-list.ts'
import { ALICE, at, errnoOf, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

const ENOSPC = 28
const EIO = 5

/** The system call that takes several writes. */
const GROUP = WRITES_LISTS ? 'lio_listio' : 'pwritev'

t.afterEach(() => setFaultPoints(undefined))

/** Counts the system calls of some kinds, and lets them fail as `fail` says. */
function watch(fail: (op: string, count: number) => number = () => 0): Record<string, number> {
  const counts: Record<string, number> = {}
  setFaultPoints({
    before: (op) => {
      counts[op] = (counts[op] ?? 0) + 1
      return fail(op, counts[op])
    },
    after: () => undefined,
  })
  return counts
}

t.test('consecutive writes go to the kernel together, and each gets the attributes after it', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay, upper }) => {
    const file = await at(overlay, 'file')
    await overlay.write(ROOT, file, Buffer.from('0'), 0, 'unstable')
    const counts = watch()
    const wccs: ChangeInfo[] = Array.from({ length: 10 }, () => ({}))
    await Promise.all(wccs.map((wcc, i) => overlay.write(ROOT, file, Buffer.from(`${i}`), i, 'unstable', wcc)))
    t.equal(readFileSync(join(upper, 'file'), 'latin1'), '0123456789')
    t.same([counts.pwrite, counts[GROUP]], [1, 1], 'the first at once, the others while it ran')
    t.same(
      wccs.map((wcc) => wcc.after?.size),
      [1, ...Array(9).fill(10)],
    )
    t.equal(wccs[1]?.before, undefined, 'no honest state before exists in the middle of a group')
    t.equal((await overlay.getattr(file)).size, 10)
  })
})

t.test('writes with gaps or overlaps are made in the order of arrival', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay, upper }) => {
    const file = await at(overlay, 'file')
    const writes = [
      ['aaaa', 0],
      ['bbbb', 2],
      ['cc', 6],
      ['dd', 1],
      ['', 3],
      ['ee', 3],
    ] as const
    await Promise.all(
      writes.map(([data, position]) => overlay.write(ROOT, file, Buffer.from(data), position, 'unstable')),
    )
    t.equal(readFileSync(join(upper, 'file'), 'latin1'), 'addeebcc')
  })
})

t.test('when a group of writes fails, each write gets its own result', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay, upper }) => {
    const file = await at(overlay, 'file')
    await overlay.write(ROOT, file, Buffer.from('.'), 0, 'unstable')
    // The group fails, and of its writes, tried one by one, the second.
    watch((op, count) => (op === GROUP || (op === 'pwrite' && count === 3) ? ENOSPC : 0))
    const ends = await Promise.all(
      ['a', 'b', 'c', 'd'].map((data, i) => errnoOf(() => overlay.write(ROOT, file, Buffer.from(data), i, 'unstable'))),
    )
    t.same(ends, ['none', 'none', 'ENOSPC', 'none'])
    t.equal(readFileSync(join(upper, 'file'), 'latin1'), 'ab\0d')
    setFaultPoints(undefined)
    t.equal(await text(overlay, 'file'), 'ab\0d')
  })
})

t.test('one fsync serves all waiting callers, but not those whose writes came after it began', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay }) => {
    const file = await at(overlay, 'file')
    await overlay.write(ROOT, file, Buffer.from('.'), 0, 'unstable')
    const order: string[] = []
    setFaultPoints({
      before: (op) => {
        if (op === 'fsync') order.push('fsync')
        return 0
      },
      after: (op) => {
        if (op === 'pwrite' || op === GROUP) order.push('written')
      },
    })
    const writes = Array.from({ length: 20 }, (_, i) => overlay.write(ROOT, file, Buffer.from('w'), 2 * i, 'file'))
    await Promise.all(writes)
    const syncs = order.filter((op) => op === 'fsync').length
    t.ok(syncs < 20, `${syncs} fsyncs for 20 writes`)
    t.ok(order.lastIndexOf('fsync') > order.lastIndexOf('written'), 'the last fsync began after the last write')
  })
})

t.test('all callers that waited for a failed fsync get its error, and the next fsync is tried again', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay }) => {
    const file = await at(overlay, 'file')
    await overlay.write(ROOT, file, Buffer.from('.'), 0, 'unstable')
    watch((op, count) => (op === 'fsync' && count === 1 ? EIO : 0))
    t.equal(await errnoOf(() => overlay.write(ROOT, file, Buffer.from('a'), 0, 'file')), 'EIO')
    t.equal(await errnoOf(() => overlay.write(ROOT, file, Buffer.from('b'), 0, 'file')), 'none')
  })
})

t.test(
  'a failed fsync is reported to all callers whose data it may have included, even if their own fsyncs succeed',
  async (t) => {
    await withOverlay(t, [{ file: 'x' }], async ({ overlay }) => {
      const file = await at(overlay, 'file')
      await overlay.write(ROOT, file, Buffer.from('.'), 0, 'file')
      const made = watch((op, count) => (op === 'fsync' && count === 1 ? EIO : 0))
      const ends = await Promise.all(Array.from({ length: 6 }, () => errnoOf(() => overlay.commit(ROOT, file))))
      t.same(ends, Array(6).fill('EIO'))
      t.ok((made.fsync ?? 0) < 6, 'fsyncs are shared')
      t.equal(await errnoOf(() => overlay.commit(ROOT, file)), 'none')
    })
  },
)

t.test('a caller without permission cannot write, even if the file is open for others', async (t) => {
  await withOverlay(t, [{ file: { content: 'x', mode: 0o644 } }], async ({ overlay }) => {
    const file = await at(overlay, 'file')
    await overlay.write(ROOT, file, Buffer.from('y'), 0, 'unstable')
    t.equal(await errnoOf(async () => overlay.write(ALICE, file, Buffer.from('z'), 0, 'unstable')), 'EACCES')
    t.equal(await text(overlay, 'file'), 'y')
  })
})

t.test('unmount waits for running writes', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay, upper }) => {
    const file = await at(overlay, 'file')
    await overlay.write(ROOT, file, Buffer.from('.'), 0, 'unstable')
    const big = Buffer.alloc(8 * 1024 * 1024, 'w')
    const writes = [overlay.write(ROOT, file, big, 0, 'unstable'), overlay.write(ROOT, file, big, big.length, 'file')]
    await Promise.all([overlay.unmount(), ...writes])
    t.equal(readFileSync(join(upper, 'file')).length, 2 * big.length)
  })
})
