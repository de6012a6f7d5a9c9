// The first panel: what the server is, and plots of what it does.

import { run } from './api.js'
import { sizeText } from './changes.js'
import { make } from './dialogs.js'
import { plot } from './plots.js'

const EVERY_MS = 5000

const perSecond = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString()}/s`
const bytesPerSecond = (value) => `${sizeText(Math.round(value))}/s`
const whole = (value) => Math.round(value).toLocaleString()
const percent = (value) => `${Math.round(value * 100)} %`

/** Title, lines as name and key of the history, and how a value is written. */
const PLOTS = [
  ['Requests', { WebDAV: 'webdavRequests', NFS: 'nfsCalls' }, perSecond],
  ['Throughput', { in: 'bytesIn', out: 'bytesOut' }, bytesPerSecond],
  ['Event loop busy', { '': 'busy' }, percent],
  ['Memory', { '': 'memoryBytes' }, sizeText],
  ['Connections', { '': 'connections' }, whole],
  ['Open views', { '': 'openViews' }, whole],
]

function drawPlots(place, history) {
  const { atMs } = history
  if (atMs.length < 2) {
    place.replaceChildren(make('p', { class: 'count' }, 'The first points come within seconds.'))
    return
  }
  const pictures = PLOTS.map(([title, lines, textOf]) => {
    const series = Object.entries(lines).map(([name, key]) => ({
      name,
      points: atMs.map((at, i) => [at, history[key][i]]),
    }))
    return plot(title, series, textOf)
  })
  place.replaceChildren(...pictures)
}

function factsOf({ version, pid, uptimeSeconds, memoryBytes, doors, faults, views }) {
  const days = Math.floor(uptimeSeconds / 86_400)
  const time = new Date(uptimeSeconds * 1000).toISOString().slice(11, 19)
  const facts = [
    ['Version', version],
    ['Process', String(pid)],
    ['Up', days === 0 ? time : `${days} d ${time}`],
    ['Memory', sizeText(memoryBytes)],
    ['WebDAV', doors.webdav?.url ?? 'off'],
    ['NFS', doors.nfs === undefined ? 'off' : `${doors.nfs.host}:${doors.nfs.port}`],
    ['Views', views.reduce((count, { template }) => count + (template?.views ?? 1), 0).toLocaleString()],
  ]
  const bugs = Object.entries(faults).filter(([, count]) => count > 0)
  if (bugs.length > 0) facts.push(['Faults', bugs.map(([name, count]) => `${name} ${count}`).join(', ')])
  const pairs = facts.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value)))
  return make('dl', { class: 'facts' }, ...pairs)
}

function templatesOf(views) {
  const row = ({ name, template, readOnly }) => {
    const kind = template === undefined ? (readOnly ? 'read-only' : 'shared') : template.kind
    const count =
      template === undefined ? '' : `${template.views.toLocaleString()} views, ${template.open.toLocaleString()} open`
    const link = make('a', { href: `#views/${encodeURIComponent(name)}` }, name)
    return make('li', { 'data-name': name }, link, ' ', make('span', { class: 'badge' }, kind), ' ', count)
  }
  return make('ul', { class: 'templates' }, ...views.map(row))
}

/** Shows the panel and keeps it fresh until the returned function is called. */
export async function showOverview(panel) {
  const [facts, plots, templates] = [make('div', {}), make('div', { class: 'plots' }), make('div', {})]
  const choice = make(
    'select',
    { id: 'resolution', 'aria-label': 'Time that the plots show' },
    make('option', { value: 'fine' }, 'the last hour'),
    make('option', { value: 'coarse' }, 'the last two days'),
  )
  const head = make('div', { class: 'tools' }, make('h2', {}, 'Over time'), choice)
  panel.replaceChildren(facts, head, plots, make('h2', {}, 'Views and templates'), templates)
  const refresh = async () => {
    const [status, history] = await Promise.all([run('status'), run('history', { resolution: choice.value })])
    facts.replaceChildren(factsOf(status))
    templates.replaceChildren(templatesOf(status.views))
    drawPlots(plots, history)
  }
  const failed = ({ message }) => facts.replaceChildren(make('p', { class: 'error', role: 'alert' }, message))
  choice.addEventListener('change', () => refresh().catch(failed))
  await refresh()
  const timer = setInterval(() => {
    if (!document.hidden) refresh().catch(failed)
  }, EVERY_MS)
  return () => clearInterval(timer)
}
