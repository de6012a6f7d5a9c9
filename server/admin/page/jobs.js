// The panel of long work, and that of all verbs.

import { run, verbs } from './api.js'
import { ask, choice, complain, make } from './dialogs.js'
import { resultView, shownValue, sortedTable } from './tables.js'
import { orderVerb, showProgress } from './verb-form.js'

const STATES = { running: 'changed', done: 'upper', failed: 'gone', cancelled: '' }

async function showResult({ id, verb }) {
  const job = await run('job show', { id })
  const content =
    job.error === undefined ? resultView(job.result ?? {}) : make('p', { class: 'error' }, job.error.message)
  await ask(verb, content, make('div', { class: 'end' }, choice('Close', '')))
}

function progressOf(job) {
  if (job.state !== 'running') return ''
  const bar = make('progress', { 'aria-label': `progress of ${job.verb}` })
  const text = make('span', {}, '')
  showProgress(bar, text, job.progress)
  return make('div', { class: 'job' }, bar, text)
}

function buttonOf(job) {
  const running = job.state === 'running'
  const button = make(
    'button',
    { type: 'button', 'aria-label': `${running ? 'Cancel' : 'Result of'} ${job.verb}` },
    running ? 'Cancel' : 'Result',
  )
  const work = () => (running ? run('job cancel', { id: job.id }) : showResult(job))
  button.addEventListener('click', () => work().catch(({ message }) => complain(message)))
  return button
}

/** Shows all jobs, and their changes until the returned function is called. */
export function showJobs(panel) {
  const jobs = new Map()
  const table = sortedTable({
    label: 'jobs',
    empty: 'Nothing runs, and nothing has run since the start of the server.',
    keyOf: ({ id }) => id,
    start: 'started',
    latestFirst: true,
    columns: [
      { id: 'order', title: 'What', value: ({ verb, order }) => `${verb} ${shownValue('', order)}` },
      {
        id: 'state',
        title: 'State',
        value: ({ state }) => state,
        cell: ({ state }) => make('span', { class: `badge ${STATES[state]}` }, state),
      },
      { id: 'progress', title: 'Progress', value: ({ progress }) => progress?.done ?? '', cell: progressOf },
      {
        id: 'started',
        title: 'Begun',
        value: ({ started }) => started,
        cell: ({ started }) => new Date(started).toLocaleTimeString(),
      },
      { id: 'user', title: 'By', value: ({ user }) => user ?? '' },
      { id: 'act', title: '', value: () => '', cell: buttonOf },
    ],
  })
  panel.replaceChildren(table.element)
  table.show([])
  const events = new EventSource('/v1/job/events')
  let drawing = false
  events.addEventListener('job', ({ data }) => {
    const job = JSON.parse(data)
    jobs.set(job.id, job)
    if (drawing) return
    drawing = true
    requestAnimationFrame(() => {
      drawing = false
      table.show([...jobs.values()])
    })
  })
  return () => events.close()
}

/** Shows every verb of the server, with a form for each. */
export async function showVerbs(panel) {
  const table = sortedTable({
    label: 'verbs',
    empty: '',
    keyOf: ({ name }) => name,
    columns: [
      {
        id: 'name',
        title: 'Verb',
        value: ({ name }) => name,
        cell: (verb) => make('button', { type: 'button', class: 'link', onclick: () => orderVerb(verb) }, verb.name),
      },
      { id: 'summary', title: 'What it does', value: ({ summary }) => summary.replaceAll('`', '') },
      {
        id: 'changes',
        title: 'Changes',
        value: ({ changes, isJob }) => (isJob ? 'in the background' : changes ? 'yes' : 'nothing'),
      },
    ],
  })
  panel.replaceChildren(
    make(
      'p',
      { class: 'lead' },
      'Everything that this server can be ordered to do. For programs: ',
      make('a', { href: '/api' }, 'the API'),
      '.',
    ),
    table.element,
  )
  table.show((await verbs()).filter(({ isLines }) => !isLines))
}
