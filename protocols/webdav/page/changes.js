// A list of differences with what can be done with each, and the text of a patch. Names are untrusted, so they are inserted as text only.

import { make } from './dialogs.js'

/** Rows that are shown at once; a button shows more. */
const PAGE_ROWS = 200

const KINDS = {
  added: ['added', 'upper'],
  changed: ['changed', 'changed'],
  removed: ['removed', 'gone'],
  renamed: ['renamed', 'changed'],
  same: ['the same', ''],
}
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

export function sizeText(bytes) {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`
}

/** Reads lines of JSON as they come, and gives each to `take`. Throws an Error with words of the server. */
export async function readLines(url, options, take) {
  const response = await fetch(url, options)
  if (!response.ok) throw new Error(await reasonIn(response))
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split('\n')
    rest = lines.pop()
    for (const line of lines) if (line !== '') take(JSON.parse(line))
  }
}

export async function reasonIn(response) {
  const text = await response.text()
  try {
    const { error, message } = JSON.parse(text)
    return error ?? message ?? `it failed (${response.status})`
  } catch {
    return text.trim().slice(0, 300) || `it failed (${response.status})`
  }
}

function detail({ kind, type, from, aspects, before, after }) {
  const words = []
  if (from !== undefined) words.push(`from ${from}`)
  if (kind === 'changed') words.push(aspects.join(', '))
  const growth = type === 'directory' ? 0 : (after?.size ?? 0) - (before?.size ?? 0)
  if (growth !== 0) words.push(`${growth > 0 ? '+' : '−'}${sizeText(Math.abs(growth))}`)
  return words.filter((word) => word !== '').join(' · ')
}

/** The lines of a patch, with a colour for each kind. */
export function patchView(text) {
  const lines = text.split('\n').map((line) => {
    const kind = /^(---|\+\+\+)/.test(line) ? 'head' : { '+': 'plus', '-': 'minus', '@': 'at', '#': 'note' }[line[0]]
    return make('span', kind === undefined ? {} : { class: kind }, `${line}\n`)
  })
  return make('pre', { class: 'patch', tabindex: '0' }, ...lines)
}

function headRow() {
  const names = ['What', 'Path', 'Difference'].map((text) => make('th', { scope: 'col' }, text))
  const actions = make('th', { scope: 'col', class: 'act' }, make('span', { class: 'unseen' }, 'Actions'))
  return make('thead', {}, make('tr', {}, ...names, actions))
}

/** A list of differences. */
class ChangesList {
  #all = []
  #shown = PAGE_ROWS
  #parts
  #body = make('tbody', {})
  #table = make('table', { class: 'changes', hidden: '' }, headRow(), this.#body)
  #filter = make('input', {
    ...{ type: 'search', class: 'filter', placeholder: 'Filter by path', 'aria-label': 'Filter by path', hidden: '' },
  })
  #count = make('p', { class: 'count', 'aria-live': 'polite' }, 'Comparing…')
  #more = make('button', { type: 'button', class: 'more', hidden: '' })

  constructor(parts) {
    this.#parts = parts
    this.element = make('div', {}, this.#filter, this.#count, this.#table, this.#more)
    this.#filter.addEventListener('input', () => {
      this.#shown = PAGE_ROWS
      this.#draw()
    })
    this.#more.addEventListener('click', () => {
      this.#shown += PAGE_ROWS * 5
      this.#draw()
    })
  }

  add(line) {
    this.#all.push(line)
    if (this.#all.length <= PAGE_ROWS) {
      this.#body.append(this.#rowOf(line))
      this.#table.hidden = false
    }
    if (this.#all.length % 1000 === 0) this.#count.textContent = `Comparing… ${this.#all.length}`
  }

  /** Says that all are there. */
  end() {
    const { length } = this.#all
    this.#count.textContent =
      length === 0 ? this.#parts.empty : `${length} ${length === 1 ? 'difference' : 'differences'}`
    this.#filter.hidden = length < 10
    this.#all.sort((a, b) => collator.compare(a.path, b.path))
    this.#draw()
    this.element.dataset.complete = ''
  }

  /** Says why the rest is missing. */
  failed(text) {
    this.#count.textContent = text
    this.element.dataset.complete = ''
  }

  #draw() {
    const wanted = this.#filter.value.toLowerCase()
    const fits = ({ path, from }) => `${path}\n${from ?? ''}`.toLowerCase().includes(wanted)
    const lines = wanted === '' ? this.#all : this.#all.filter(fits)
    this.#body.replaceChildren(...lines.slice(0, this.#shown).map((line) => this.#rowOf(line)))
    this.#table.hidden = lines.length === 0
    this.#more.hidden = lines.length <= this.#shown
    this.#more.textContent = `Show ${Math.min(PAGE_ROWS * 5, lines.length - this.#shown)} more of ${lines.length}`
  }

  #rowOf(line) {
    const [word, badge] = KINDS[line.kind] ?? [line.kind, '']
    const row = make('tr', { 'data-path': line.path, 'data-kind': line.kind })
    const buttons = line.type === 'regular' && line.kind !== 'same' ? [this.#textButton(row, line)] : []
    const slash = line.type === 'directory' ? '/' : ''
    row.append(
      make('td', { class: 'kind' }, make('span', { class: `badge ${badge}` }, word)),
      make('td', { class: 'name' }, line.path === '' ? '' : line.path, slash),
      make('td', { class: 'detail' }, detail(line)),
      make('td', { class: 'act' }, ...buttons, ...this.#parts.actionsOf(line)),
    )
    return row
  }

  #textButton(row, line) {
    const button = make(
      'button',
      { type: 'button', 'aria-expanded': 'false', 'aria-label': `Text of ${line.path}` },
      'Text',
    )
    button.addEventListener('click', () => this.#toggleText(row, line, button))
    return button
  }

  async #toggleText(row, line, button) {
    const open = row.nextElementSibling?.classList.contains('text')
    button.setAttribute('aria-expanded', String(!open))
    if (open) return row.nextElementSibling.remove()
    const cell = make('td', { colspan: '4' }, 'Loading…')
    row.after(make('tr', { class: 'text' }, cell))
    try {
      const text = await this.#parts.patchOf(line.path)
      cell.replaceChildren(text === '' ? 'The text is the same.' : patchView(text))
    } catch ({ message }) {
      cell.replaceChildren(message)
    }
  }
}

/**
 * Makes a list of differences. `actionsOf(line)` returns buttons for a row, `patchOf(path)` the text of a patch, `empty` is shown if there is none.
 * The list has `element`, `add(line)`, `end()` and `failed(text)`.
 */
export function changesList(parts) {
  return new ChangesList(parts)
}
