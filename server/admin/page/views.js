// The panel of all views, and that of one view.

import { run, runLines, verbOf, verbs } from './api.js'
import { changesList, sizeText } from './changes.js'
import { complain, make } from './dialogs.js'
import { stackPicture } from './stack-picture.js'
import { resultView, sortedTable } from './tables.js'
import { destroys, orderVerb } from './verb-form.js'

const STATES = { 'in use': 'upper', open: 'upper', failed: 'gone', closed: '' }

function linkTo({ path }) {
  return make('a', { href: `#views/${path.split('/').map(encodeURIComponent).join('/')}` }, path)
}

const COLUMNS = [
  { id: 'path', title: 'View', value: ({ path }) => path, cell: linkTo },
  {
    id: 'state',
    title: 'State',
    value: ({ state }) => state,
    cell: ({ state, failure }) => make('span', { class: `badge ${STATES[state] ?? ''}`, title: failure ?? '' }, state),
  },
  {
    id: 'bytes',
    title: 'Changes',
    value: ({ quota }) => quota?.bytes ?? -1,
    cell: ({ quota }) => (quota === undefined ? '' : sizeText(quota.bytes)),
  },
  {
    id: 'limit',
    title: 'Limit',
    value: ({ quota }) => quota?.hardBytes ?? -1,
    cell: ({ quota }) => (quota?.hardBytes === undefined ? '' : sizeText(quota.hardBytes)),
  },
  {
    id: 'created',
    title: 'Made',
    value: ({ created }) => created,
    cell: ({ created }) =>
      make('time', { datetime: created, title: new Date(created).toLocaleString() }, created.slice(0, 10)),
  },
]

/** Shows all views, or those of one template. */
async function showList(panel, template) {
  const table = sortedTable({
    columns: COLUMNS,
    keyOf: ({ path }) => path,
    label: 'views',
    empty: 'There are no views of users or machines.',
  })
  const create = make('button', { type: 'button', class: 'main', id: 'create-view' }, 'New view…')
  const refresh = async () => table.show(await run('view list', template === undefined ? {} : { template }))
  create.addEventListener('click', async () => {
    if (await orderVerb(await verbOf('view create'), { view: template === undefined ? undefined : `${template}/` }))
      await refresh()
  })
  const all = template === undefined ? [] : [make('a', { class: 'button', href: '#views' }, 'All templates')]
  panel.replaceChildren(make('div', { class: 'tools' }, create, ...all), table.element)
  await refresh()
}

/** Shows what differs between a view and what `against` names. */
async function showDifferences(place, view, against) {
  const order = { view, ...(against !== undefined && { against }) }
  const patchOf = async (path) => {
    let text = ''
    await runLines('view diff', { ...order, paths: [path], contents: true }, (line) => {
      if (line.path === path) text = textDifference(line)
    })
    return text
  }
  const list = changesList({ actionsOf: () => [], patchOf, empty: 'Nothing differs.' })
  place.replaceChildren(list.element)
  let failure
  try {
    await runLines('view diff', order, (line) => {
      if (line.error !== undefined) failure = line.error
      else if (line.done === undefined) list.add(line)
    })
  } catch (error) {
    failure = error.message
  }
  if (failure === undefined) list.end()
  else list.failed(failure)
}

function textOf(side) {
  if (side === undefined || side.size === 0) return ''
  if (side.content === undefined) return undefined
  const bytes = Uint8Array.from(atob(side.content), (char) => char.charCodeAt(0))
  return bytes.subarray(0, 8000).includes(0) ? undefined : new TextDecoder().decode(bytes)
}

/** A unified difference with three lines of context, by the longest common subsequence; long texts are shown whole, old above new. */
function textDifference({ path, from, before, after }) {
  const [old, now] = [textOf(before), textOf(after)]
  if (old === undefined || now === undefined) return '# binary or large\n'
  const head = `--- ${before === undefined ? '/dev/null' : `a/${from ?? path}`}\n+++ ${after === undefined ? '/dev/null' : `b/${path}`}\n`
  return head + lineDifference(old.split('\n'), now.split('\n'))
}

const MOST_CELLS = 4_000_000
const CONTEXT = 3

function lineDifference(old, now) {
  let start = 0
  while (start < old.length && start < now.length && old[start] === now[start]) start++
  let end = 0
  while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end++
  const [a, b] = [old.slice(start, old.length - end), now.slice(start, now.length - end)]
  const middle =
    a.length * b.length > MOST_CELLS ? [...a.map((line) => `-${line}`), ...b.map((line) => `+${line}`)] : edits(a, b)
  const above = old.slice(Math.max(0, start - CONTEXT), start).map((line) => ` ${line}`)
  const below = old.slice(old.length - end, old.length - end + CONTEXT).map((line) => ` ${line}`)
  return `@@ line ${start + 1} @@\n${[...above, ...middle, ...below].join('\n')}\n`
}

function edits(a, b) {
  const width = b.length + 1
  const lengths = new Uint32Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1])
  const lines = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push(` ${a[i]}`)
      i++
      j++
    } else if (i < a.length && (j === b.length || lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]))
      lines.push(`-${a[i++]}`)
    else lines.push(`+${b[j++]}`)
  }
  return lines
}

/** Whether a verb is about a view, which its order names as `view` or among `views`. */
function isAbout({ name, fields, changes }) {
  if (!changes || name === 'view create' || name === 'remount') return false
  if ('views' in fields) return true
  return 'view' in fields && !/@SNAPSHOT/.test(fields.view.description ?? '')
}

/** The buttons for all verbs that are about one view. */
async function actionsFor(view, refresh) {
  return (await verbs()).filter(isAbout).map((verb) => {
    const { name, summary, fields } = verb
    const style = { class: destroys(verb) ? 'careful' : '', 'data-verb': name, title: summary.replaceAll('`', '') }
    const button = make('button', { type: 'button', ...style }, `${name.replace(/^view /, '')}…`)
    button.addEventListener('click', async () => {
      if (await orderVerb(verb, 'views' in fields ? { views: [view] } : { view })) await refresh(name)
    })
    return button
  })
}

function snapshotTable(_view, compare, refresh) {
  const act = (word, name, given) => {
    const button = make('button', { type: 'button', 'aria-label': `${word} ${given}` }, `${word}…`)
    button.addEventListener('click', async () => {
      if (await orderVerb(await verbOf(name), { view: given })) await refresh()
    })
    return button
  }
  return sortedTable({
    label: 'snapshots',
    empty: 'There are no snapshots.',
    search: false,
    start: 'created',
    keyOf: ({ name }) => name,
    columns: [
      { id: 'name', title: 'Snapshot', value: ({ name }) => name },
      {
        id: 'created',
        title: 'Made',
        value: ({ created }) => created,
        cell: ({ created }) => new Date(created).toLocaleString(),
      },
      { id: 'inUse', title: 'In use', value: ({ inUse }) => (inUse ? 'yes' : 'no') },
      {
        id: 'act',
        title: '',
        value: () => '',
        cell: ({ path, name }) => {
          const button = make('button', { type: 'button', 'aria-label': `Compare with ${name}` }, 'Compare')
          button.addEventListener('click', () => compare(path))
          return [button, act('Roll back', 'view rollback', path), act('Remove', 'snapshot remove', path)]
        },
      },
    ],
  })
}

/** A view that all clients share has layers and changes, but is made by the configuration file. */
async function showShared(panel, name) {
  const place = make('div', { class: 'differences' })
  const { layers } = await run('view stack', { view: name })
  const button = make('button', { type: 'button', id: 'show-changes' }, 'Show changes')
  button.addEventListener('click', () => showDifferences(place, name))
  const changes = layers.some(({ kind }) => kind === 'upper') ? [make('h2', {}, 'Changes'), button, place] : []
  panel.replaceChildren(
    make('p', {}, make('a', { href: '#views' }, '← All views')),
    ...[make('h2', { class: 'title' }, name), make('h2', {}, 'Layers'), stackPicture(layers), ...changes],
  )
}

async function isShared(name) {
  const { views } = await run('status')
  return views.some((view) => view.name === name && view.template === undefined)
}

async function showView(panel, path) {
  const place = make('div', { class: 'differences' })
  const compare = (against) => showDifferences(place, path, against)
  const facts = make('div', {})
  const picture = make('div', { class: 'picture' })
  const actions = make('div', { class: 'tools' })
  const snapshots = snapshotTable(path, compare, () => refresh())
  const changes = make('button', { type: 'button', id: 'show-changes', onclick: () => compare() }, 'Show changes')
  const section = (title, ...content) => make('section', { class: 'part' }, make('h2', {}, title), ...content)
  panel.replaceChildren(
    make('p', {}, make('a', { href: '#views' }, '← All views')),
    make('h2', { class: 'title' }, path),
    facts,
    actions,
    section('Layers', picture),
    section('Snapshots', snapshots.element),
    section('Changes', changes, place),
  )
  const refresh = async (after) => {
    if (after === 'view remove' || after === 'view rename') {
      location.hash = '#views'
      return
    }
    const { path: _, ...view } = await run('view show', { view: path })
    facts.replaceChildren(resultView(view))
    picture.replaceChildren(stackPicture((await run('view stack', { view: path })).layers))
    snapshots.show(await run('snapshot list', { view: path }))
  }
  actions.replaceChildren(...(await actionsFor(path, refresh)))
  await refresh()
}

/** Shows the panel: `way` is what follows `#views/`. */
export async function showViews(panel, way) {
  const [template, ...rest] = way.map(decodeURIComponent)
  try {
    if (rest.length > 0) await showView(panel, [template, ...rest].join('/'))
    else if (template !== undefined && (await isShared(template))) await showShared(panel, template)
    else await showList(panel, template)
  } catch (error) {
    complain(error.message)
  }
}
