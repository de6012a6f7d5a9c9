// The panels of clients and of usage.

import { followJob, run, verbOf } from './api.js'
import { sizeText } from './changes.js'
import { complain, make } from './dialogs.js'
import { sortedTable } from './tables.js'
import { orderVerb } from './verb-form.js'

const EVERY_MS = 5000

function clientColumns(refresh) {
  return [
    { id: 'address', title: 'Client', value: ({ address }) => address },
    {
      id: 'door',
      title: 'By',
      value: ({ door }) => door,
      cell: ({ door, encrypted }) => `${door}${encrypted ? ', TLS' : ''}`,
    },
    { id: 'users', title: 'Users', value: ({ users }) => users.join(', ') },
    { id: 'views', title: 'Views', value: ({ views }) => views.join(', ') },
    { id: 'connections', title: 'Connections', value: ({ connections }) => connections },
    { id: 'locks', title: 'Locks', value: ({ locks }) => locks },
    {
      id: 'lastSeen',
      title: 'Last seen',
      value: ({ lastSeen }) => lastSeen,
      cell: ({ lastSeen }) => make('time', { datetime: lastSeen }, new Date(lastSeen).toLocaleTimeString()),
    },
    {
      id: 'act',
      title: '',
      value: () => '',
      cell: ({ address }) => {
        const button = make('button', { type: 'button', 'aria-label': `Kick ${address}` }, 'Kick…')
        button.addEventListener('click', async () => {
          if (await orderVerb(await verbOf('kick'), { client: address })) await refresh()
        })
        return button
      },
    },
  ]
}

/** Shows the live clients, and keeps them fresh until the returned function is called. */
export async function showClients(panel) {
  const refresh = async () => table.show(await run('who'))
  const table = sortedTable({
    ...{ columns: clientColumns(refresh), label: 'clients', empty: 'No client is connected.' },
    keyOf: ({ door, address }) => `${door} ${address}`,
  })
  panel.replaceChildren(table.element)
  await refresh()
  const timer = setInterval(() => {
    if (!document.hidden && !panel.contains(document.activeElement)) refresh().catch(({ message }) => complain(message))
  }, EVERY_MS)
  return () => clearInterval(timer)
}

const USAGE = [
  {
    id: 'view',
    title: 'View',
    value: ({ view }) => view,
    cell: ({ view }) => make('a', { href: `#views/${view.split('/').map(encodeURIComponent).join('/')}` }, view),
  },
  { id: 'bytes', title: 'Changes', value: ({ bytes }) => -bytes, cell: ({ bytes }) => sizeText(bytes) },
  { id: 'files', title: 'Objects', value: ({ files }) => files, cell: ({ files }) => files.toLocaleString() },
  {
    id: 'limit',
    title: 'Limit',
    value: ({ hardBytes }) => hardBytes ?? 0,
    cell: ({ hardBytes }) => (hardBytes ? sizeText(hardBytes) : ''),
  },
  {
    id: 'grown',
    title: 'Grown',
    value: ({ grown }) => grown ?? 0,
    cell: ({ grown }) => (grown ? `${grown > 0 ? '+' : '−'}${sizeText(Math.abs(grown))}` : ''),
  },
]

/** Shows the largest views. */
export async function showUsage(panel) {
  const table = sortedTable({
    columns: USAGE,
    keyOf: ({ view }) => view,
    label: 'usage',
    empty: 'No usage is known.',
    start: 'bytes',
  })
  const sum = make('p', { class: 'lead' }, 'Adding up…')
  panel.replaceChildren(sum, table.element)
  const { id } = await run('usage', { limit: 1000 })
  const job = await followJob(id)
  if (job.state !== 'done') throw new Error(job.error?.message ?? 'it was cancelled')
  const { views = [], bytes, files, unknown } = job.result
  const rest =
    unknown === 0 ? '' : ` The usage of ${unknown.toLocaleString()} views is not known, because they have no quota.`
  sum.textContent = `All views together: ${sizeText(bytes)} in ${files.toLocaleString()} objects.${rest}`
  table.show(views)
}
