import t from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import { CacheBudget } from '../../../overlay-core/base/cache-budget.ts'
import { CallEpochs } from '../../../overlay-core/layer/call-epochs.ts'
import { type Layer, type Probe, Real } from '../../../overlay-core/layer/layer.ts'
import { XattrNames } from '../../../overlay-core/layer/overlay-xattrs.ts'
import type { UpperContext } from '../../../overlay-core/layer/upper-context.ts'
import { readMarks } from '../../../overlay-core/lookup/marks.ts'
import type { SuperBlock } from '../../../overlay-core/objects/superblock.ts'
import { lowerStateAt } from '../../../overlay-core/stack/lower-lookup.ts'
import { LowerReal, noteChange, versionOf } from '../../../overlay-core/stack/lower-real.ts'
import type { Listing } from '../../../overlay-core/stack/merged-listing.ts'
import { SharedLowers } from '../../../overlay-core/stack/shared-lowers.ts'

/** Shared lowers on no disk: a lookup ends when the test says so, with nothing found. */
function scene() {
  const budget = () => new CacheBudget(() => 1000)
  const budgets = { names: budget(), listings: budget(), directories: budget() }
  const lookups: (() => void)[] = []
  const marks = {
    standingAt: () => new Promise<Probe | undefined>((resolve) => lookups.push(() => resolve(undefined))),
    isOpaque: () => false,
  }
  const layer = { marks, root: new Real({} as Layer, undefined, '', 1) } as unknown as Layer
  const shared = new SharedLowers(
    { lowers: [layer, layer], data: [] },
    new Uint8Array(16),
    budgets,
    new CallEpochs(),
    true,
  )
  const roots = shared.lowers.map(({ root }) => root as LowerReal)
  return { budgets, lookups, top: roots[0] as LowerReal, bottom: roots[1] as LowerReal }
}

const CONTEXT = {} as UpperContext

t.test('a lookup that was under way when a change was noticed is not remembered', async (t) => {
  const { lookups, top } = scene()
  const early = lowerStateAt(CONTEXT, top, 'name')
  noteChange(top)
  const late = lowerStateAt(CONTEXT, top, 'name')
  lookups[0]?.()
  t.equal(await early, undefined)
  t.equal(top.layer.names.get(top, 'name'), undefined)
  lookups[1]?.()
  t.equal(await late, undefined)
  t.ok(top.layer.names.get(top, 'name'), 'one that began after it is')
  t.equal(await lowerStateAt(CONTEXT, top, 'name'), undefined)
  t.equal(lookups.length, 2)
})

t.test('a change of any merged directory makes their listing outdated', async (t) => {
  const { budgets, top, bottom } = scene()
  const { listings } = top.layer
  const dirs = [top, bottom]
  const listing = { entries: [{ name: 'a', cookie: 2, type: FileType.regular, fileIdHi: 0, fileIdLo: 1 }] }
  const version = versionOf(dirs)
  listings.add(top, dirs, listing, version)
  t.equal(listings.get(top, dirs), listing)
  t.equal(listings.get(top, [top]), undefined, 'of other directories')
  noteChange(bottom)
  t.equal(listings.get(top, dirs), undefined)
  listings.add(top, dirs, listing, version)
  t.equal(listings.get(top, dirs), undefined, 'one that was read before the change')
  listings.add(top, dirs, listing, versionOf(dirs))
  t.equal(listings.get(top, dirs), listing)
  t.equal(budgets.listings.used, 1)
})

t.test('listings of empty directories count too', (t) => {
  const { budgets, top } = scene()
  const { listings } = top.layer
  const dirs = Array.from({ length: 3000 }, (_, i) => new LowerReal(top.layer, top, `empty-${i}`, 10 + i))
  for (const dir of dirs) listings.add(dir, [dir], { entries: [] }, 0)
  t.equal(budgets.listings.used, 1000)
  t.equal(dirs.filter((dir) => listings.get(dir, [dir])).length, 1000, 'the others are not kept')
  listings.clear()
  t.equal(budgets.listings.used, 0)
  t.end()
})

/** An overlay in which a call for extended attributes ends when the test says so. */
function slowOverlay() {
  const overlayXattrs = new XattrNames(false)
  const lists: (() => void)[] = []
  const reads: ((value: string) => void)[] = []
  const sb = {
    overlayXattrs,
    options: { redirectDir: 'on' },
    descriptors: { of: () => 3 },
    xattrStore: {
      list: () => new Promise<string[]>((resolve) => lists.push(() => resolve([overlayXattrs.opaque]))),
      get: () => new Promise<Uint8Array>((resolve) => reads.push((value) => resolve(Buffer.from(value)))),
    },
  } as unknown as SuperBlock
  const step = async (calls: ((value: string) => void)[], value = '') => {
    calls.shift()?.(value)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { sb, list: () => step(lists), read: (value: string) => step(reads, value), calls: [lists, reads] }
}

/** Lets the calls that were begun go on until they wait. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

t.test('an overlay that reads the marks of a directory hides them from no other', async (t) => {
  const { top } = scene()
  const { sb, list, read, calls } = slowOverlay()
  const [early, late] = [readMarks(sb, top), readMarks(sb, top)]
  await settled()
  await list()
  await read('y')
  t.ok((await early).opaque)
  await list()
  t.ok((await readMarks(sb, top)).opaque, 'while the other reads them')
  await read('y')
  t.ok((await late).opaque)
  t.same(calls, [[], []])
})

t.test('marks that were read before a change was noticed do not replace later ones', async (t) => {
  const { top } = scene()
  const { sb, list, read } = slowOverlay()
  const early = readMarks(sb, top)
  await settled()
  await list()
  noteChange(top)
  const late = readMarks(sb, top)
  await settled()
  await list()
  await read('n')
  t.notOk((await early).opaque)
  t.notOk(top.content.marksKnown)
  await read('y')
  t.ok((await late).opaque)
  t.ok((await readMarks(sb, top)).opaque)
})

t.test('marks that were read before a change was noticed do not replace later ones that came first', async (t) => {
  const { top } = scene()
  const { sb, list, read } = slowOverlay()
  const early = readMarks(sb, top)
  await settled()
  noteChange(top)
  const late = readMarks(quick(sb), top)
  t.ok((await late).opaque)
  await list()
  await read('n')
  t.notOk((await early).opaque)
  t.ok((await readMarks(sb, top)).opaque)
})

/** The same without waiting, with the directory opaque. */
function quick(sb: SuperBlock): SuperBlock {
  const xattrStore = { list: () => [sb.overlayXattrs.opaque], get: () => Buffer.from('y') }
  return { ...sb, xattrStore } as unknown as SuperBlock
}

t.test('a listing that is being read is that of callers before a change, not of those after it', async (t) => {
  const { top, bottom } = scene()
  const { listings } = top.layer
  const dirs = [top, bottom]
  const ends: (() => void)[] = []
  const read = () => new Promise<Listing>((resolve) => ends.push(() => resolve({ entries: [] })))
  const [first, second] = [listings.once(top, dirs, read), listings.once(top, [top, bottom], read)]
  const other = listings.once(top, [top], read)
  t.equal(ends.length, 2, 'other directories are read on their own')
  noteChange(bottom)
  const late = listings.once(top, dirs, read)
  t.equal(ends.length, 3)
  for (const end of ends) end()
  t.equal(await first, await second)
  t.not(await first, await late)
  await other
  t.equal(listings.get(top, dirs) ?? (await late), await late)
  const failing = () => Promise.reject(new Error('EIO'))
  await t.rejects(listings.once(top, [bottom], failing), { message: 'EIO' })
  t.same(await Promise.all([listings.once(top, [bottom], () => Promise.resolve({ entries: [] }))]), [{ entries: [] }])
})
