import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { digitsOf } from '../../../server/layers/version-record.ts'
import { VersionStore } from '../../../server/layers/version-store.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const OTHER = `sha256:${'b'.repeat(64)}`
const OBJECT = { tarBytes: 1024, bytes: 3, objects: 2, userxattr: false }
const ABOUT = { layer: 'm', version: undefined, createdMs: 1, from: 'dir:/x' }

let count = 0
const id = () => `id-${count++}`

async function object(store: VersionStore, digest: string): Promise<void> {
  const { path, tree } = await store.begin(id())
  writeFileSync(join(tree, 'file'), digest)
  await store.keep(path, { digest, ...OBJECT })
}

t.test('versions get numbers; several at once get different ones', async (t) => {
  const store = new VersionStore(join(t.testdir({}), 'store'))
  await object(store, DIGEST)
  const made = await Promise.all(Array.from({ length: 5 }, () => store.publish(ABOUT, DIGEST, id())))
  t.same(made.map(({ version }) => version).sort(), ['1', '2', '3', '4', '5'])
  t.same((await store.versions('m')).map(({ version }) => version).sort(), ['1', '2', '3', '4', '5'])
  await t.rejects(store.publish({ ...ABOUT, version: '3' }, DIGEST, id()), /m@3 exists, and a version never changes/)
  t.same(readdirSync(join(store.directory, 'making')), [])
})

t.test('content that is there is kept once', async (t) => {
  const store = new VersionStore(join(t.testdir({}), 'store'))
  await object(store, DIGEST)
  await object(store, DIGEST)
  t.same(readdirSync(join(store.directory, 'objects')), [digitsOf(DIGEST)])
  t.same(readdirSync(join(store.directory, 'making')), [])
})

t.test('nothing to which a version links is unneeded, also if the record of the version is damaged', async (t) => {
  const store = new VersionStore(join(t.testdir({}), 'store'))
  await object(store, DIGEST)
  await object(store, OTHER)
  await store.publish(ABOUT, DIGEST, id())
  mkdirSync(join(store.directory, 'making/left'))
  const unneeded = async () => (await store.unneeded()).map(({ path, digest }) => digest ?? path)
  t.same(await unneeded(), [OTHER, join(store.directory, 'making/left')])
  writeFileSync(join(store.directory, 'names/m/1/version.json'), '{"layer":')
  t.same(await store.versions('m'), [])
  t.same(await unneeded(), [OTHER, join(store.directory, 'making/left')])
  for (const { path } of await store.unneeded()) await store.delete(path, id())
  t.ok(existsSync(join(store.directory, 'objects', digitsOf(DIGEST), 'tree/file')))
  t.notOk(existsSync(join(store.directory, 'objects', digitsOf(OTHER))))
})

t.test('who adds and who removes keep each other out', async (t) => {
  const store = new VersionStore(join(t.testdir({}), 'store'))
  const [one, two] = [await store.shared(), await store.shared()]
  t.ok(one && two)
  t.equal(await store.alone(), undefined)
  one?.()
  two?.()
  const alone = await store.alone()
  t.ok(alone)
  t.equal(await store.shared(), undefined)
  alone?.()
})
