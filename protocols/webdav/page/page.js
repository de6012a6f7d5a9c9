// The script of a collection page: sorting, uploads, new folders, renaming, deleting, restoring. Without it the page lists and downloads. Names are
// untrusted, so they are inserted as text only.

const table = document.querySelector('table')
const readOnly = document.body.dataset.readonly !== undefined
const here = new URL(document.body.dataset.base, location.href)

/** Creates an element with attributes and children (elements or text). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else element.setAttribute(name, value)
  }
  element.append(...children)
  return element
}

// Messages

function complain(text) {
  const message = document.getElementById('message')
  message.textContent = text
  message.hidden = false
  message.scrollIntoView({ block: 'nearest' })
}

/** Describes an error: the server responds with a line of text, or with XML that only repeats the status. */
async function explain(action, response) {
  const type = response.headers.get('content-type') ?? ''
  const text = type.startsWith('text/plain') ? (await response.text()).trim() : ''
  const words = {
    403: 'not allowed',
    409: 'something else has this name',
    412: 'the name is already in use',
    423: 'it is locked',
    507: 'no space left',
  }
  return `${action}: ${words[response.status] ?? text ?? ''} (${response.status})`
}

async function send(action, method, url, headers = {}) {
  let response
  try {
    response = await fetch(url, { method, headers })
  } catch {
    complain(`${action}: no answer from the server`)
    return false
  }
  if (response.ok && response.status !== 207) return true
  complain(response.status === 207 ? `${action}: some items failed` : await explain(action, response))
  return false
}

// Sorting

const COLUMNS = {
  name: (row) => row.dataset.name,
  size: (row) => Number(row.dataset.size),
  time: (row) => Number(row.dataset.time),
  layer: (row) => row.dataset.layer,
}
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

function compare(a, b) {
  return typeof a === 'number' ? a - b : collator.compare(a, b)
}

function sortBy(column, descending) {
  const body = table.tBodies[0]
  const value = COLUMNS[column]
  const rows = [...body.rows].map((row) => ({
    row,
    folder: row.dataset.folder === undefined ? 1 : 0,
    value: value(row),
  }))
  // Folders stay on top.
  rows.sort(
    (a, b) =>
      a.folder - b.folder ||
      (descending ? -1 : 1) * compare(a.value, b.value) ||
      compare(a.row.dataset.name, b.row.dataset.name),
  )
  body.append(...rows.map(({ row }) => row))
  for (const head of table.tHead.querySelectorAll('[data-column]')) {
    const own = head.dataset.column === column
    if (own) head.setAttribute('aria-sort', descending ? 'descending' : 'ascending')
    else head.removeAttribute('aria-sort')
  }
  history.replaceState(null, '', `#${descending ? '-' : ''}${column}`)
}

function enableSorting() {
  for (const head of table.tHead.querySelectorAll('[data-column]')) {
    const { column } = head.dataset
    const text = head.textContent
    const sort = () => sortBy(column, head.getAttribute('aria-sort') === 'ascending')
    head.replaceChildren(make('button', { type: 'button', onclick: sort }, text))
  }
  const [, minus, column] = /^#(-?)(\w+)$/.exec(location.hash) ?? []
  if (column in COLUMNS) sortBy(column, minus === '-')
}

// Dialogs

/** Shows a dialog until it is closed; resolves to the value of the button that closed it, or to undefined. */
function ask(title, ...content) {
  return new Promise((resolve) => {
    const dialog = make('dialog', { 'aria-labelledby': 'title' }, make('h2', { id: 'title' }, title), ...content)
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(dialog.returnValue === '' ? undefined : dialog.returnValue)
    })
    document.body.append(dialog)
    dialog.showModal()
  })
}

const closing = (value) => (event) => event.target.closest('dialog').close(value)

function choice(text, value, className = '') {
  return make('button', { type: 'button', class: className, onclick: closing(value) }, text)
}

function askForName(title, label, button, before = '') {
  const input = make('input', {
    id: 'new-name',
    value: before,
    autocomplete: 'off',
    spellcheck: 'false',
    maxlength: '255',
  })
  const submit = (event) => {
    event.preventDefault()
    const name = input.value.trim()
    if (name === '' || name === '.' || name === '..' || name.includes('/'))
      input.setCustomValidity('Enter a name without a slash')
    if (input.reportValidity()) input.closest('dialog').close(name)
  }
  input.addEventListener('input', () => input.setCustomValidity(''))
  const form = make(
    'form',
    { onsubmit: submit },
    make('label', { for: 'new-name' }, label),
    input,
    make('div', { class: 'end' }, choice('Cancel', ''), make('button', { class: 'main' }, button)),
  )
  const answer = ask(title, form)
  const dot = before.lastIndexOf('.')
  input.setSelectionRange(0, dot > 0 ? dot : before.length)
  input.focus()
  return answer
}

async function confirmed(title, button) {
  const answer = await ask(title, make('div', { class: 'end' }, choice('Cancel', ''), choice(button, 'yes', 'bad')))
  return answer === 'yes'
}

// Actions on an entry

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

async function showActions(row) {
  const entry = row.dataset
  const gone = entry.layer === 'removed'
  const buttons = []
  if (!gone) buttons.push(choice('Rename…', 'rename'))
  if (gone || (entry.layer === 'changed' && entry.folder === undefined))
    buttons.push(choice('Restore the lower’s version…', 'restore'))
  if (!gone) buttons.push(choice('Delete…', 'delete'))
  buttons.push(choice('Cancel', ''))
  const picked = await ask(entry.name, make('div', { class: 'choices' }, ...buttons))
  if (picked === 'rename') await rename(entry)
  else if (picked === 'restore') await restore(entry)
  else if (picked === 'delete') await remove(entry)
  row.querySelector('.act button')?.focus()
}

function enableActions() {
  for (const row of table.tBodies[0].rows) {
    const { name } = row.dataset
    if (name === undefined) continue
    const button = make(
      'button',
      { type: 'button', 'aria-label': `Actions for ${name}`, 'aria-haspopup': 'dialog' },
      '⋯',
    )
    button.addEventListener('click', () => showActions(row))
    row.cells[row.cells.length - 1].append(button)
  }
}

// Uploads: one at a time, each with its progress, and never over an existing file without asking

const waiting = []
let uploading = false
let uploaded = 0

function sendFile(item, overwrite) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest()
    item.request = request
    request.open('PUT', item.url)
    if (!overwrite) request.setRequestHeader('If-None-Match', '*')
    request.setRequestHeader('X-OC-Mtime', String(Math.floor(item.file.lastModified / 1000)))
    request.upload.addEventListener('progress', (event) => {
      item.progress.value = event.loaded
      item.state.textContent = `${Math.floor((event.loaded / Math.max(event.total, 1)) * 100)} %`
    })
    request.addEventListener('loadend', () => resolve(request.status))
    request.send(item.file)
  })
}

async function upload(item) {
  if (item.folders !== undefined)
    for (const folder of item.folders) await fetch(folder, { method: 'MKCOL' }).catch(() => undefined)
  let status = await sendFile(item, false)
  if (status === 412 && (await confirmed(`${item.name} already exists. Replace it?`, 'Replace')))
    status = await sendFile(item, true)
  const done = status >= 200 && status < 300
  item.cancel.remove()
  item.progress.remove()
  item.state.textContent = done ? 'done' : status === 0 ? 'cut off' : status === 412 ? 'skipped' : `failed (${status})`
  if (done) uploaded++
}

async function work() {
  if (uploading) return
  uploading = true
  for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) if (!item.cancelled) await upload(item)
  uploading = false
  if (
    uploaded > 0 &&
    ![...document.querySelectorAll('#uploads .state')].some((state) => /fail|cut/.test(state.textContent))
  )
    location.reload()
}

function enqueue(file, path) {
  const name = path.join('/')
  const encoded = path.map(encodeURIComponent)
  const progress = make('progress', {
    max: String(Math.max(file.size, 1)),
    value: '0',
    'aria-label': `Upload of ${name}`,
  })
  const state = make('span', { class: 'state' }, 'waiting')
  const cancel = make('button', { type: 'button', 'aria-label': `Cancel the upload of ${name}` }, 'Cancel')
  const item = {
    ...{ file, name, progress, state, cancel, cancelled: false, request: undefined },
    url: new URL(encoded.join('/'), here).href,
    folders: encoded.slice(0, -1).map((_, depth) => new URL(`${encoded.slice(0, depth + 1).join('/')}/`, here).href),
  }
  cancel.addEventListener('click', () => {
    item.cancelled = true
    item.request?.abort()
    state.textContent = 'cancelled'
    cancel.remove()
  })
  document
    .getElementById('uploads')
    .append(make('li', {}, make('span', { class: 'name' }, name), state, cancel, progress))
  waiting.push(item)
}

function readEntries(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject))
}

/** Collects a dropped file, or a folder with everything below. */
async function enqueueEntry(entry, above) {
  const path = [...above, entry.name]
  if (entry.isFile) {
    enqueue(await new Promise((resolve, reject) => entry.file(resolve, reject)), path)
    return
  }
  const reader = entry.createReader()
  for (let batch = await readEntries(reader); batch.length > 0; batch = await readEntries(reader)) {
    for (const member of batch) await enqueueEntry(member, path)
  }
}

async function drop(event) {
  event.preventDefault()
  document.body.classList.remove('dropping')
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)
  if (entries.length > 0) for (const entry of entries) await enqueueEntry(entry, [])
  else for (const file of event.dataTransfer.files) enqueue(file, [file.name])
  await work()
}

function enableUploads() {
  const picker = document.getElementById('files')
  document.getElementById('upload').addEventListener('click', () => picker.click())
  picker.addEventListener('change', () => {
    for (const file of picker.files) enqueue(file, [file.name])
    picker.value = ''
    work()
  })
  document.getElementById('folder').addEventListener('click', async () => {
    const name = await askForName('New folder', 'Name', 'Create')
    if (name === undefined) return
    if (await send(`Create ${name}`, 'MKCOL', new URL(`${encodeURIComponent(name)}/`, here).href)) location.reload()
  })
  let depth = 0
  addEventListener('dragenter', (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return
    depth++
    document.body.classList.add('dropping')
  })
  addEventListener('dragleave', () => {
    depth = Math.max(depth - 1, 0)
    if (depth === 0) document.body.classList.remove('dropping')
  })
  addEventListener('dragover', (event) => event.preventDefault())
  addEventListener('drop', (event) => {
    depth = 0
    drop(event)
  })
  addEventListener('beforeunload', (event) => {
    if (uploading) event.preventDefault()
  })
  for (const element of document.querySelectorAll('.tools [hidden]')) if (element !== picker) element.hidden = false
}

enableSorting()
if (!readOnly && document.getElementById('upload')) {
  enableActions()
  enableUploads()
}
document.body.dataset.ready = ''
