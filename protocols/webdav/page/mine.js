// The script of the page about one's own view: what was changed in it, its versions, and the conflicts of its last update.

import { changesList, readLines, reasonIn } from './changes.js'
import { complain, confirmed, explain, make } from './dialogs.js'
import { enableTabs } from './tabs.js'

const { template, readonly } = document.body.dataset
const calls = `/-/mine/${encodeURIComponent(template)}`
const readOnly = readonly !== undefined

function fileUrl(path) {
  return `/${[template, ...path.split('/')].map(encodeURIComponent).join('/')}`
}

function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined)
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`
}

/** Sends one request of WebDAV. Throws an Error with why it failed. */
async function dav(method, path, headers = {}) {
  const response = await fetch(fileUrl(path), { method, headers })
  if (!response.ok || response.status === 207) throw new Error(await explain(path, response))
}

/** Takes one difference from the material back, by the same requests that any client sends. */
async function undo({ kind, path, from, aspects }) {
  const restore = (at) => dav('POST', at, { 'Overlay-Action': 'restore' })
  if (kind === 'added') return dav('DELETE', path)
  if (kind !== 'renamed') return restore(path)
  await dav('MOVE', path, { Destination: new URL(fileUrl(from), location.href).href, Overwrite: 'F' })
  if (aspects.length > 0) await restore(from)
}

/** Whether `undo` can do it: directories are only added or removed as a whole. */
function canUndo({ kind, type, path, pathBytes }) {
  return (
    !readOnly &&
    path !== '' &&
    pathBytes === undefined &&
    (kind === 'added' || kind === 'removed' || type !== 'directory')
  )
}

/** Gives a file the content that it had in a version. Larger ones are restored by an administrator. */
async function restore({ kind, path }, snapshot) {
  if (kind === 'added') return dav('DELETE', path)
  let side
  await readLines(`${calls}/changes${query({ against: snapshot, path, contents: '1' })}`, {}, (line) => {
    if (line.path === path) side = line.before
  })
  if (side === undefined) throw new Error(`${path} is as it was in ${snapshot} already`)
  if (side.size > 0 && side.content === undefined)
    throw new Error(`${path} is too large to restore it here; ask an administrator`)
  const body = Uint8Array.from(atob(side.content ?? ''), (char) => char.charCodeAt(0))
  const headers = { 'X-OC-Mtime': String(Math.floor(Date.parse(side.mtime) / 1000)) }
  const response = await fetch(fileUrl(path), { method: 'PUT', headers, body })
  if (!response.ok) throw new Error(await explain(path, response))
}

/** Whether `restore` can do it. */
function canRestore({ kind, type, path, pathBytes }) {
  return !readOnly && path !== '' && pathBytes === undefined && type === 'regular' && kind !== 'renamed'
}

function questionFor({ kind, path, from }) {
  if (kind === 'added') return `Delete ${path}? The material has no such file.`
  if (kind === 'removed') return `Bring ${path} back from the material?`
  if (kind === 'renamed') return `Move ${path} back to ${from}?`
  return `Discard your changes to ${path}?`
}

/** Shows what differs between the view and the material, or a version. */
async function showChanges(panel, snapshot) {
  const actionsOf = (line) => {
    const actions = []
    if (line.kind !== 'removed' && line.path !== '')
      actions.push(make('a', { class: 'button', href: fileUrl(line.path), 'aria-label': `Open ${line.path}` }, 'Open'))
    const possible = snapshot === undefined ? canUndo(line) : canRestore(line)
    if (!possible) return actions
    const word = snapshot === undefined ? 'Undo' : 'Restore'
    const button = make('button', { type: 'button', class: 'undo', 'aria-label': `${word} ${line.path}` }, `${word}…`)
    button.addEventListener('click', async () => {
      const question = snapshot === undefined ? questionFor(line) : `Put ${line.path} back to version ${snapshot}?`
      const lost = snapshot === undefined ? '' : 'What it contains now is lost, unless another version has it.'
      if (!(await confirmed(question, word, lost))) return
      try {
        await (snapshot === undefined ? undo(line) : restore(line, snapshot))
      } catch ({ message }) {
        complain(message)
      }
      await showChanges(panel, snapshot)
    })
    return [...actions, button]
  }
  const patchOf = async (path) => {
    const response = await fetch(`${calls}/changes${query({ against: snapshot, path, patch: '1' })}`)
    if (!response.ok) throw new Error(await reasonIn(response))
    return await response.text()
  }
  const empty = snapshot === undefined ? 'You have changed nothing.' : 'Nothing has changed since this version.'
  const list = changesList({ actionsOf, patchOf, empty })
  const lead =
    snapshot === undefined
      ? 'What differs from the material of the course.'
      : `What has changed since version ${snapshot}.`
  const back = make('button', { type: 'button', onclick: () => showVersions(panel) }, '← All versions')
  panel.replaceChildren(...(snapshot === undefined ? [] : [back]), make('p', { class: 'lead' }, lead), list.element)
  let failure
  try {
    await readLines(`${calls}/changes${query({ against: snapshot })}`, {}, (line) => {
      if (line.error !== undefined) failure = line.error
      else if (line.done === undefined) list.add(line)
    })
  } catch (error) {
    failure = error.message
  }
  if (failure === undefined) list.end()
  else list.failed(`The changes cannot be shown: ${failure}`)
}

function versionRow(panel, { name, created }) {
  const time = new Date(created)
  const compare = make('button', { type: 'button', 'aria-label': `Compare with ${name}` }, 'Compare and restore')
  compare.addEventListener('click', () => showChanges(panel, name))
  return make(
    'tr',
    { 'data-name': name },
    make('td', { class: 'name' }, name),
    make('td', { class: 'detail' }, make('time', { datetime: created }, time.toLocaleString())),
    make('td', { class: 'act' }, compare),
  )
}

async function showVersions(panel) {
  const body = make('tbody', {})
  const head = make(
    'tr',
    {},
    ...['Version', 'Kept'].map((text) => make('th', { scope: 'col' }, text)),
    make('th', { class: 'act' }),
  )
  const table = make('table', { class: 'changes versions', hidden: '' }, make('thead', {}, head), body)
  const count = make('p', { class: 'count', 'aria-live': 'polite' }, 'Loading…')
  panel.replaceChildren(
    make('p', { class: 'lead' }, 'States of your files that were kept. Nothing in them changes.'),
    count,
    table,
  )
  try {
    const response = await fetch(`${calls}/versions`)
    if (!response.ok) throw new Error(await reasonIn(response))
    const versions = (await response.json()).toReversed()
    body.append(...versions.map((version) => versionRow(panel, version)))
    table.hidden = versions.length === 0
    count.textContent =
      versions.length === 0
        ? 'There are no versions yet.'
        : `${versions.length} ${versions.length === 1 ? 'version' : 'versions'}`
  } catch (error) {
    count.textContent = `The versions cannot be shown: ${error.message}`
  }
  panel.dataset.complete = ''
}

const DID = { same: 'not changed' }

/** What became of a path that both sides have changed, in words. */
function resultOf({ outcome, strategy, beside }) {
  if (outcome === 'replaced' || strategy === 'theirs') return ['The new material counts.']
  if (strategy === 'fail') return ['This must be decided first.']
  if (strategy === 'mine') return ['Yours counts.']
  if (beside === undefined) return ['Both are kept.']
  return ['Yours counts; the new one is ', make('a', { href: fileUrl(beside) }, beside), '.']
}

function conflictRow(conflict) {
  const { path, mine, base, directory } = conflict
  return make(
    'tr',
    { 'data-path': path },
    make('td', { class: 'name' }, make('a', { href: fileUrl(path) }, `${path}${directory ? '/' : ''}`)),
    make('td', { class: 'detail' }, `You have ${DID[mine] ?? mine} it, the material has ${DID[base] ?? base} it`),
    make('td', { class: 'detail' }, ...resultOf(conflict)),
  )
}

/** Shows what both the user and the last version of the material have changed. */
async function showConflicts(panel) {
  const lead = make('p', { class: 'lead' }, 'Loading…')
  panel.replaceChildren(lead)
  try {
    const response = await fetch(`${calls}/conflicts`)
    if (!response.ok) throw new Error(await reasonIn(response))
    const report = await response.json()
    if (report === null) lead.textContent = 'The material below your files was never updated.'
    else {
      const when = new Date(report.at).toLocaleString()
      const kept = report.aside === undefined ? '' : ` What you had before is the version ${report.aside}.`
      const count =
        report.conflictCount === 0
          ? 'Nothing was changed on both sides.'
          : `${report.conflictCount} changed on both sides.`
      lead.textContent = `The material was updated on ${when}. ${count}${kept}`
      const heads = ['Path', 'What happened', 'Result'].map((text) => make('th', { scope: 'col' }, text))
      const body = make('tbody', {}, ...report.conflicts.map(conflictRow))
      const table = make('table', { class: 'changes conflicts' }, make('thead', {}, make('tr', {}, ...heads)), body)
      if (report.conflicts.length > 0) panel.append(table)
    }
  } catch ({ message }) {
    lead.textContent = `The conflicts cannot be shown: ${message}`
  }
  panel.dataset.complete = ''
}

const SHOW = { changes: showChanges, versions: showVersions, conflicts: showConflicts }
await enableTabs((id) => SHOW[id](document.getElementById(id)))
document.body.dataset.ready = ''
