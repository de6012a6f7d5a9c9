import t from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import { CacheBudget } from '../../../overlay-core/base/cache-budget.ts'
import { CallEpochs } from '../../../overlay-core/layer/call-epochs.ts'
import { type Layer, type Probe, Real } from '../../../overlay-core/layer/layer.ts'
import type { UpperContext } from '../../../overlay-core/layer/upper-context.ts'
import { lowerStateAt } from '../../../overlay-core/stack/lower-lookup.ts'
import { type LowerReal, noteChange, versionOf } from '../../../overlay-core/stack/lower-real.ts'
import { SharedLowers } from '../../../overlay-core/stack/shared-lowers.ts'

/** Shared lowers on no disk: a lookup ends when the test says so, with nothing found. */
function scene() {
  const budget = () => new CacheBudget(() => 1000)
  const budgets = { names: budget(), listings: budget(), directories: budget() }
  const lookups: (() => void)[] = []
  const marks = {
    standingAt: () => new Promise<Probe | undefined>((resolve) => lookups.push(() => resolve(undefined))),
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
