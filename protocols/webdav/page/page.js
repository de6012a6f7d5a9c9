// The script of a collection page. Without it the page lists and downloads.

import { enableActions } from './entry-actions.js'
import { askForLink } from './links.js'
import { place, readOnly } from './place.js'
import { enableSorting } from './sorting.js'
import { enableUploads } from './uploads.js'

function enableLinks() {
  const button = document.getElementById('link')
  if (button === null) return
  const name = place.path === '' ? place.view : place.path.slice(place.path.lastIndexOf('/') + 1)
  button.addEventListener('click', () => askForLink({ ...place, name, folder: true, readOnly }))
  button.hidden = false
}

if (document.querySelector('table') !== null) {
  enableSorting()
  enableActions()
}
enableLinks()
if (document.getElementById('upload') !== null) enableUploads()
document.body.dataset.ready = ''
