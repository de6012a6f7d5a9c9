// What can be done with an entry: renaming, deleting, restoring, making a link to it.

import { ask, askForName, choice, confirmed, make, send } from './dialogs.js'
import { askForLink } from './links.js'
import { here, place, readOnly } from './place.js'

async function rename({ name, href }) {
  const fresh = await askForName(`Rename ${name}`, 'New name', 'Rename', name)
  if (fresh === undefined || fresh === name) return
  const destination = new URL(encodeURIComponent(fresh), here).href
  if (await send(`Rename ${name}`, 'MOVE', href, { Destination: destination, Overwrite: 'F' })) location.reload()
}

async function remove({ name, href, folder }) {
  const what = folder === undefined ? name : `${name} and everything in it`
  if (!(await confirmed(`Delete ${what}?`, 'Delete'))) return
  if (await send(`Delete ${name}`, 'DELETE', href)) location.reload()
}

async function restore({ name, href, layer }) {
  const question =
    layer === 'removed'
      ? `Restore ${name} from the lower layer?`
      : `Discard your changes to ${name} and restore the version of the lower layer?`
  if (!(await confirmed(question, 'Restore'))) return
  if (await send(`Restore ${name}`, 'POST', href, { 'Overlay-Action': 'restore' })) location.reload()
}

/** Whether a link can lead to an entry: its path is in a view of one's own, and text. */
function canLink({ name, layer }) {
  return place !== undefined && layer !== 'removed' && !name.includes('\ufffd')
}

async function linkTo({ name, path, folder }) {
  const below = place.path === '' ? name : `${place.path}/${name}`
  await askForLink({ view: place.view, path: path ?? below, name, folder: folder !== undefined, readOnly })
}

async function showActions(row) {
  const entry = row.dataset
  const gone = entry.layer === 'removed'
  const buttons = []
  if (!gone && canLink(entry)) buttons.push(choice('Make a link…', 'link'))
  if (!gone && !readOnly) buttons.push(choice('Rename…', 'rename'))
  if (gone || (!readOnly && entry.layer === 'changed' && entry.folder === undefined))
    buttons.push(choice('Restore the lower’s version…', 'restore'))
  if (!gone && !readOnly) buttons.push(choice('Delete…', 'delete'))
  buttons.push(choice('Cancel', ''))
  const picked = await ask(entry.name, make('div', { class: 'choices' }, ...buttons))
  if (picked === 'rename') await rename(entry)
  else if (picked === 'restore') await restore(entry)
  else if (picked === 'delete') await remove(entry)
  else if (picked === 'link') await linkTo(entry)
  row.querySelector('.act button')?.focus()
}

export function enableActions() {
  for (const row of document.querySelector('table').tBodies[0].rows) {
    const { name } = row.dataset
    if (name === undefined || (readOnly && !canLink(row.dataset))) continue
    const button = make(
      'button',
      { type: 'button', 'aria-label': `Actions for ${name}`, 'aria-haspopup': 'dialog' },
      '⋯',
    )
    button.addEventListener('click', () => showActions(row))
    row.cells[row.cells.length - 1].append(button)
  }
}
