import t from 'tap'
import { readConfig } from '../../config/file/read-config.ts'
import type { LayerLookup } from '../../config/index.ts'

const LOOKUP: LayerLookup = ({ name, version = '3' }) =>
  name === 'lost'
    ? 'there is no layer "lost" in /store; did you mean last?'
    : { version, store: '/store', path: `/store/names/${name}/${version}/object/tree` }

function read(layers: string, upper = 'upper = "per-user"\ndirectory = "views"', more = '', layer = LOOKUP) {
  const text = `${more}\n[layers.patches]\npath = "/patches"\n[stacks.s]\nlayers = ${layers}\n[views.course]\nstack = "s"\n${upper}\n`
  const environment = { uid: 0, cwd: '/', defaultStateDir: '/state' }
  const context = { name: 'c', path: '/etc/c', environment, overrides: new Map(), exportError: () => undefined, layer }
  return readConfig(text, context as Parameters<typeof readConfig>[1])
}

const wrong = (config: ReturnType<typeof read>) => config.problems.list().map(({ message }) => message)

t.test('a stack names layers of the layer store, by their newest version or by a fixed one', async (t) => {
  const { settings } = read('["layer:release", "patches", "layer:base@old"]')
  const template = settings?.views[0]?.template
  t.same(template?.mount.lowerdir, [
    '/store/names/release/3/object/tree',
    '/patches',
    '/store/names/base/old/object/tree',
  ])
  t.same(template?.layers, [
    { name: 'release', version: '3', pinned: false, store: '/store' },
    undefined,
    { name: 'base', version: 'old', pinned: true, store: '/store' },
  ])
})

t.test('the layer store is in the state directory, or where the file says', async (t) => {
  t.equal(read('["patches"]').settings?.layerDirectory, '/state/layers')
  t.equal(read('["patches"]', undefined, '[layers]\ndirectory = "store"').settings?.layerDirectory, '/etc/store')
})

t.test('a layer table may have the name of a key of the layers', async (t) => {
  const config = read('["directory"]', undefined, '[layers.directory]\npath = "/d"')
  t.same(wrong(config), [])
  t.same(config.settings?.views[0]?.template?.mount.lowerdir, ['/d'])
})

t.test('a layer that is not there disables the views on it alone', async (t) => {
  const config = read('["layer:lost"]')
  t.same(wrong(config), ['there is no layer "lost" in /store; did you mean last?'])
  t.same(
    config.problems.list().map(({ view }) => view),
    ['course'],
  )
})

t.test('what is wrong with a reference is said', async (t) => {
  t.match(wrong(read('["layer:a b"]')), [/"a b" is not a valid name; .*write NAME or NAME@VERSION/])
  t.match(wrong(read('["layer:a@"]')), [/"" is not a valid name/])
  t.match(wrong(read('["layer:a", "layer:a"]')), [/"layer:a" is listed twice/])
})

t.test('an upper that all clients share needs a fixed version', async (t) => {
  const shared = 'upper = "shared"\ndirectory = "views"'
  t.same(wrong(read('["layer:a"]', shared)), [
    '`views.course.upper`: one upper for all clients needs a fixed version below it; write "layer:a@3" in the stack',
  ])
  t.same(wrong(read('["layer:a@3"]', shared)), [])
  t.same(wrong(read('["layer:a"]', 'upper = "none"')), [])
})
