// Uploads: one at a time, each with its progress, and never over an existing file without asking.

import { askForName, confirmed, make, send } from './dialogs.js'
import { here } from './place.js'

/** Whether files can only be added here, and nobody who adds one sees any. */
const dropOnly = document.body.dataset.drop !== undefined

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

/** What became of an upload. */
function outcome(status) {
  if (status >= 200 && status < 300) return dropOnly ? 'received' : 'done'
  if (status === 0) return 'cut off'
  if (status === 412) return dropOnly ? 'not sent: there is a file of this name already, so rename yours' : 'skipped'
  if (dropOnly && status === 409) return 'failed: folders cannot be added here'
  const words = {
    403: 'not allowed',
    404: 'this link or folder is not there any more',
    423: 'locked',
    507: 'no space left',
  }
  return `failed: ${words[status] ?? status}`
}

async function upload(item) {
  if (!dropOnly) for (const folder of item.folders) await fetch(folder, { method: 'MKCOL' }).catch(() => undefined)
  let status = await sendFile(item, false)
  if (status === 412 && !dropOnly && (await confirmed(`${item.name} already exists. Replace it?`, 'Replace')))
    status = await sendFile(item, true)
  item.cancel.remove()
  item.progress.remove()
  if (!item.cancelled) item.state.textContent = outcome(status)
  if (status >= 200 && status < 300) uploaded++
}

async function work() {
  if (uploading) return
  uploading = true
  for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) if (!item.cancelled) await upload(item)
  uploading = false
  if (
    !dropOnly &&
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

export function enableUploads() {
  const picker = document.getElementById('files')
  document.getElementById('upload').addEventListener('click', () => picker.click())
  picker.addEventListener('change', () => {
    for (const file of picker.files) enqueue(file, [file.name])
    picker.value = ''
    work()
  })
  document.getElementById('folder')?.addEventListener('click', async () => {
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
