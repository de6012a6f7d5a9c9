import { readdir } from 'node:fs/promises'
import t, { type Test } from 'tap'
import type { ViewSettings } from '../../config/index.ts'
import { parseOptions } from '../../overlay-core/index.ts'
import { type ResolvedViewSettings, Views } from '../../server/views.ts'

/** A plan for the view `name` over directories of its own; `lower` may name one that is not there. */
async function plan(t: Test, name: string, { lower = 'lower' } = {}): Promise<ResolvedViewSettings> {
  const dir = t.testdir({ lower: { file: 'text' }, upper: {}, work: {} })
  const options = parseOptions(`lowerdir=${dir}/${lower},upperdir=${dir}/upper,workdir=${dir}/work`)
  const settings: ViewSettings = { name, mount: options, exports: [], exportsGiven: false }
  return { settings, options }
}

t.test('views are found by their names until they are closed', async (t) => {
  const views = await Views.open([await plan(t, 'one')], '/nowhere')
  const view = views.get('one')
  t.equal(views.get('two'), undefined)
  t.equal(views.get('constructor'), undefined)
  t.same(
    views.list().map(({ name }) => name),
    ['one'],
  )
  const cred = { uid: 0, gid: 0, groups: [] }
  t.not(await view?.overlay.lookup(cred, view.overlay.root, 'file'), undefined)
  await views.close()
  const again = await Views.open([{ settings: view!.settings, options: view!.overlay.options }], '/nowhere')
  await again.close()
})

t.test('when one view cannot be opened those before it are released', async (t) => {
  const good = await plan(t, 'good')
  const options = { ...good.options, lowerdir: ['/nowhere/at/all'] }
  const missing: ResolvedViewSettings = { settings: { ...good.settings, name: 'missing' }, options }
  await t.rejects(Views.open([good, missing], '/nowhere'), { message: /^-o lowerdir: / })
  const views = await Views.open([good], '/nowhere')
  await views.close()
})

t.test('an upper that is in use is refused by name, and free again afterwards', async (t) => {
  const first = await plan(t, 'one')
  const views = await Views.open([first], '/nowhere')
  await t.rejects(Views.open([first], '/nowhere'), { message: /^-o (upperdir|workdir): / })
  await views.close()
  await (await Views.open([first], '/nowhere')).close()
})

t.test('a missing lower leaves nothing behind', async (t) => {
  const missing = await plan(t, 'one', { lower: 'nowhere' })
  await t.rejects(Views.open([missing], '/nowhere'), { message: /^-o lowerdir: .*nowhere/ })
  t.same(await readdir(missing.options.upperdir!), [])
  t.same(await readdir(missing.options.workdir!), [])
})

t.test(
  'an overlay without upper remembers its handles in the state directory, and leaves nothing there when it fails',
  async (t) => {
    const dir = t.testdir({ lower: { file: 'text' }, state: {} })
    const state = `${dir}/state/deep`
    const readOnly = (lower: string): ResolvedViewSettings => {
      const options = parseOptions(`lowerdir=${dir}/${lower}`)
      return { settings: { name: 'one', mount: options, exports: [], exportsGiven: false }, options }
    }
    await t.rejects(Views.open([readOnly('nowhere')], state), { message: /^-o lowerdir: / })
    t.same(await readdir(`${dir}/state`), [])
    const cred = { uid: 0, gid: 0, groups: [] }
    const first = await Views.open([readOnly('lower')], state)
    const { overlay } = first.get('one')!
    const file = (await overlay.lookup(cred, overlay.root, 'file'))!
    overlay.retain(file)
    await overlay.retained()
    await first.close()
    const again = await Views.open([readOnly('lower')], state)
    const found = await again.get('one')!.overlay.inodeByKey(file.key, file.generation)
    t.equal(found.key, file.key, 'the identity leads to the file after a restart')
    await again.close()
  },
)
