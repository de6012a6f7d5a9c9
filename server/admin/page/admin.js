// The script of the administrator's page.

import { showClients, showUsage } from './clients.js'
import { complain } from './dialogs.js'
import { showJobs, showVerbs } from './jobs.js'
import { showOverview } from './overview.js'
import { enableTabs } from './tabs.js'
import { showViews } from './views.js'

const SHOW = {
  overview: showOverview,
  views: (panel) => showViews(panel, way()),
  clients: showClients,
  usage: showUsage,
  jobs: showJobs,
  verbs: showVerbs,
}

/** What follows the name of the panel in the fragment of the URL. */
function way() {
  return location.hash
    .slice(1)
    .split('/')
    .slice(1)
    .filter((part) => part !== '')
}

let stop
let shown = 0
async function show(id) {
  const turn = ++shown
  stop?.()
  stop = undefined
  document.getElementById('message').hidden = true
  try {
    const ended = await SHOW[id](document.getElementById(id))
    if (turn === shown) stop = ended
    else ended?.()
  } catch (error) {
    complain(error.message)
  }
  document.body.dataset.shown = location.hash
}

addEventListener('hashchange', () => {
  const [id] = location.hash.slice(1).split('/')
  if (document.getElementById(`tab-${id}`)?.getAttribute('aria-selected') === 'true') show(id)
  else document.getElementById(`tab-${id}`)?.click()
})
await enableTabs(show)
document.body.dataset.ready = ''
