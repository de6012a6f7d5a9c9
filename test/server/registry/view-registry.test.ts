import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { OptionError } from '../../../overlay-core/index.ts'
import { writeRecord } from '../../../server/registry/view-directory.ts'
import type { ViewRecord } from '../../../server/registry/view-record.ts'
import { ViewRegistry } from '../../../server/registry/view-registry.ts'

const log = pino({ level: 'silent' })
const IDS = ['1111111100000001', '2222222200000002', '3333333300000003', '4444444400000004']

/** A registry with views of these names, each with its directory. */
async function filled(t: Test, names: readonly string[]) {
  const directory = t.testdir({})
  const registry = await ViewRegistry.open(directory, log)
  for (const [i, name] of names.entries()) await add(directory, registry, IDS[i] as string, name)
  return { directory, registry, file: join(directory, 'views.log') }
}

async function add(directory: string, registry: ViewRegistry, id: string, name: string): Promise<ViewRecord> {
  const view = { id, name, uid: 1, gid: 2, order: registry.nextOrder(), createdMs: 5 }
  mkdirSync(join(directory, id, 'upper'), { recursive: true })
  await writeRecord(join(directory, id), view)
  registry.add(view)
  return view
}

async function namesIn(directory: string): Promise<string[]> {
  const registry = await ViewRegistry.open(directory, log)
  const names = [...registry.list()].map(({ id, name }) => `${id.slice(0, 1)} ${name}`)
  await registry.close()
  return names.sort()
}

t.test('views, new names and removals are there again after a restart', async (t) => {
  const { directory, registry } = await filled(t, ['alice', 'bob', 'carol'])
  const bob = registry.byName('bob') as ViewRecord
  await registry.rename(bob, 'robert')
  await registry.remove(registry.byName('carol') as ViewRecord)
  await add(directory, registry, IDS[3] as string, 'carol')
  await registry.close()
  t.same(await namesIn(directory), ['1 alice', '2 robert', '4 carol'])
  t.notOk(readFileSync(join(directory, 'views.log')).includes('nothing'))
})

t.test('a view whose directory is gone can be renamed and removed', async (t) => {
  const { directory, registry } = await filled(t, ['alice', 'bob'])
  for (const id of IDS.slice(0, 2)) rmSync(join(directory, id), { recursive: true })
  // Nothing can be made in its place.
  for (const id of IDS.slice(0, 2)) writeFileSync(join(directory, id), '')
  await registry.rename(registry.byName('alice') as ViewRecord, 'alicia')
  await registry.remove(registry.byName('bob') as ViewRecord)
  await registry.erase(IDS[1] as string)
  await registry.close()
  t.same(await namesIn(directory), ['1 alicia'])
})

t.test('a removed view whose directory could not be deleted yet stays removed', async (t) => {
  const { directory, registry } = await filled(t, ['alice', 'bob'])
  await registry.remove(registry.byName('bob') as ViewRecord)
  await registry.close()
  t.same(await namesIn(directory), ['1 alice'])
  t.throws(
    () => readFileSync(join(directory, IDS[1] as string, 'view.json')),
    { code: 'ENOENT' },
    'the start deletes it',
  )
})

t.test('a view that was being made when the server was killed leaves nothing, unless something is in it', async (t) => {
  const { directory, registry } = await filled(t, ['alice'])
  await registry.close()
  const [empty, begun, used, damaged] = [...IDS.slice(1), '5555555500000005'].map((id) => join(directory, id as string))
  for (const own of [empty, begun, used, damaged]) mkdirSync(own as string)
  for (const own of [begun, used, damaged]) mkdirSync(join(own as string, 'upper'))
  writeFileSync(join(begun as string, 'view.json.1.0~'), 'half')
  writeFileSync(join(used as string, 'upper', 'file'), 'somebody made this')
  writeFileSync(join(begun as string, 'view.json'), '{"kind":"ma')
  writeFileSync(join(damaged as string, 'view.json'), 'not a record\n')
  t.same(await namesIn(directory), ['1 alice'])
  t.same(
    [empty, begun, used, damaged].map((own) => existsSync(own as string)),
    [false, false, true, true],
  )
})

t.test('a file that was cut anywhere loses no view', async (t) => {
  const { directory, registry, file } = await filled(t, ['alice', 'bob', 'carol'])
  await registry.close()
  const whole = readFileSync(file)
  for (let length = whole.length - 1; length >= 0; length--) {
    writeFileSync(file, whole)
    truncateSync(file, length)
    t.same(await namesIn(directory), ['1 alice', '2 bob', '3 carol'], `${length} bytes`)
  }
  writeFileSync(file, 'something else entirely\n'.repeat(10))
  t.same(await namesIn(directory), ['1 alice', '2 bob', '3 carol'], 'another file in its place')
})

t.test('a damaged record loses no view', async (t) => {
  const { directory, registry, file } = await filled(t, ['alice', 'bob', 'carol'])
  await registry.close()
  const bytes = readFileSync(file)
  bytes[bytes.indexOf('bob')]! ^= 1
  writeFileSync(file, bytes)
  t.same(await namesIn(directory), ['1 alice', '2 bob', '3 carol'])
})

t.test('a directory without files, which a crash left while a view was made, is deleted', async (t) => {
  const { directory, registry } = await filled(t, ['alice'])
  await registry.close()
  mkdirSync(join(directory, '5555555500000005', 'work'), { recursive: true })
  mkdirSync(join(directory, '6666666600000006', 'upper'), { recursive: true })
  writeFileSync(join(directory, '6666666600000006', 'upper', 'work-of-somebody'), '')
  t.same(await namesIn(directory), ['1 alice'])
  t.notOk(existsSync(join(directory, '5555555500000005')))
  t.ok(existsSync(join(directory, '6666666600000006', 'upper', 'work-of-somebody')), 'files are never deleted')
})

t.test('a directory with an unusable record becomes no view', async (t) => {
  const { directory, registry } = await filled(t, ['alice'])
  await registry.close()
  for (const [id, text] of [
    ['5555555500000005', ''],
    ['6666666600000006', '{"kind":"made","id":"6666666600000006","name":"../x","uid":1,"gid":1,"order":9}'],
    ['7777777700000007', '{"kind":"made","id":"7777777700000007","name":"ALICE","uid":1,"gid":1,"order":9}'],
    ['8888888800000008', '{"kind":"made","id":"1111111100000001","name":"eve","uid":1,"gid":1,"order":9}'],
  ] as const) {
    mkdirSync(join(directory, id))
    writeFileSync(join(directory, id, 'view.json'), text)
  }
  t.same(await namesIn(directory), ['1 alice'])
})

t.test('names lead to views exactly; names that differ in case or form are known as alike', async (t) => {
  const { registry } = await filled(t, ['alice', 'jos\u00e9', 'stra\u00dfe'])
  t.equal(registry.byName('Alice'), undefined)
  t.equal(registry.alike('ALICE')?.name, 'alice')
  t.equal(registry.byName('jose\u0301'), undefined)
  t.equal(registry.alike('JOSE\u0301')?.name, 'jos\u00e9')
  t.equal(registry.alike('STRASSE')?.name, 'stra\u00dfe')
  t.equal(registry.alike('\uff41lice')?.name, 'alice', 'a compatibility form')
  t.equal(registry.alike('bob'), undefined)
  await registry.close()
})

t.test('a second server does not get the directory', async (t) => {
  const { directory, registry } = await filled(t, ['alice'])
  await t.rejects(ViewRegistry.open(directory, log), OptionError)
  await t.rejects(ViewRegistry.open(directory, log), { message: /another server uses .*; choose another directory/ })
  await registry.close()
  t.same(await namesIn(directory), ['1 alice'])
})

/** What a server finds that starts after this one was killed now. */
async function afterKill(t: Test, directory: string): Promise<ViewRecord[]> {
  const copy = `${directory}.after-kill`
  rmSync(copy, { recursive: true, force: true })
  t.teardown(() => rmSync(copy, { recursive: true, force: true }))
  cpSync(directory, copy, { recursive: true })
  const registry = await ViewRegistry.open(copy, log)
  const views = [...registry.list()]
  await registry.close()
  return views.sort((a, b) => a.order - b.order)
}

const inFile = (file: string, name: string) => readFileSync(file).includes(`"name":"${name}"`)

t.test(
  'a new view is in the file when it is settled, and survives a kill before that, with its place in listings',
  async (t) => {
    const { directory, registry, file } = await filled(t, ['alice', 'bob', 'carol'])
    const [alice, bob, carol] = [...registry.list()] as [ViewRecord, ViewRecord, ViewRecord]
    await registry.settle(carol.id)
    t.ok(inFile(file, 'carol'))
    t.notOk(inFile(file, 'alice'), 'nobody was promised that it is durable')
    t.equal(registry.settle(carol.id), undefined)
    t.same(await afterKill(t, directory), [alice, bob, carol])
    await Promise.all([registry.settle(alice.id), registry.settle(bob.id)])
    t.ok(inFile(file, 'alice') && inFile(file, 'bob'))
    await registry.close()
  },
)

t.test('a new view that is renamed or removed stays so after a kill', async (t) => {
  const { directory, registry } = await filled(t, ['alice', 'bob', 'carol'])
  const [alice, bob, carol] = [...registry.list()] as [ViewRecord, ViewRecord, ViewRecord]
  await registry.rename(alice, 'alicia')
  await registry.remove(bob)
  // A removal that comes while the view is being made durable.
  const settled = registry.settle(carol.id)
  await registry.remove(carol)
  await settled
  t.same(
    (await afterKill(t, directory)).map(({ name }) => name),
    ['alicia'],
  )
  await registry.close()
})

t.test('a rewrite of the file leaves out views that are not durable yet, and loses none', async (t) => {
  const { directory, registry, file } = await filled(t, ['alice', 'bob'])
  const [alice, bob] = [...registry.list()] as [ViewRecord, ViewRecord]
  await registry.settle(alice.id)
  const sizes: number[] = []
  for (let i = 0; i < 30; i++) {
    await Promise.all(Array.from({ length: 50 }, (_, n) => registry.rename(alice, `a${i}-${n}`)))
    sizes.push(readFileSync(file).length)
  }
  t.ok((sizes.at(-1) as number) < Math.max(...sizes), 'it was rewritten')
  t.notOk(inFile(file, 'bob'))
  await registry.settle(bob.id)
  t.same(
    (await afterKill(t, directory)).map(({ name }) => name),
    ['a29-49', 'bob'],
  )
  await registry.close()
})

t.test('new views become durable by the end of the server', async (t) => {
  const { registry, file } = await filled(t, ['alice', 'bob'])
  await registry.close()
  t.ok(inFile(file, 'alice') && inFile(file, 'bob'))
})

t.test('a view whose disk fails is not settled, and leaves the others alone', async (t) => {
  const { directory, registry, file } = await filled(t, ['alice', 'bob'])
  const [alice, bob] = [...registry.list()] as [ViewRecord, ViewRecord]
  const record = join(directory, bob.id, 'view.json')
  const text = readFileSync(record)
  rmSync(record)
  symlinkSync(record, record)
  const both = await Promise.allSettled([registry.settle(alice.id), registry.settle(bob.id)])
  t.same(
    both.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
  t.ok(inFile(file, 'alice'))
  t.notOk(inFile(file, 'bob'))
  rmSync(record)
  writeFileSync(record, text)
  await registry.settle(bob.id)
  t.ok(inFile(file, 'bob'))
  await registry.close()
})
