// Tables that are sorted, searched and shown in parts, for thousands of rows; and results of verbs in a form for people.

import { sizeText } from './changes.js'
import { make } from './dialogs.js'

const PAGE_ROWS = 200
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

function compare(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  return collator.compare(String(a ?? ''), String(b ?? ''))
}

class SortedTable {
  #rows = []
  #shown = PAGE_ROWS
  #by
  #descending = false
  #parts
  #body = make('tbody', {})
  #heads
  #table
  #input
  #count = make('p', { class: 'count', 'aria-live': 'polite' })
  #more = make('button', { type: 'button', class: 'more', hidden: '' })

  constructor({ search = true, ...parts }) {
    const { columns, label } = parts
    this.#parts = parts
    this.#by = parts.start ?? columns[0].id
    this.#descending = parts.latestFirst ?? false
    this.#heads = columns.map((column) => this.#headOf(column))
    const head = make('thead', {}, make('tr', {}, ...this.#heads))
    this.#table = make('table', { class: 'list', 'aria-label': label }, head, this.#body)
    const names = { placeholder: 'Search', 'aria-label': `Search ${label}` }
    this.#input = make('input', { type: 'search', class: 'filter', ...names })
    this.#input.addEventListener('input', () => {
      this.#shown = PAGE_ROWS
      this.#draw()
    })
    this.#more.addEventListener('click', () => {
      this.#shown += PAGE_ROWS * 5
      this.#draw()
    })
    const top = search ? [this.#input] : []
    this.element = make('div', { class: 'listing' }, ...top, this.#count, this.#table, this.#more)
  }

  show(rows) {
    this.#rows = rows
    this.#draw()
  }

  #headOf({ id, title }) {
    const button = make('button', { type: 'button' }, title)
    button.addEventListener('click', () => {
      this.#descending = this.#by === id && !this.#descending
      this.#by = id
      this.#draw()
    })
    return make('th', { scope: 'col', 'data-column': id }, title === '' ? '' : button)
  }

  #rowOf(row) {
    const cells = this.#parts.columns.map(({ id, title, value, cell }) => {
      const content = cell === undefined ? String(value(row) ?? '') : cell(row)
      return make('td', { class: `c-${id}`, 'data-label': title }, ...[content].flat())
    })
    return make('tr', { 'data-key': this.#parts.keyOf(row) }, ...cells)
  }

  #draw() {
    const { columns, empty } = this.#parts
    const wanted = this.#input.value.toLowerCase()
    const fits = (row) =>
      columns.some(({ value }) =>
        String(value(row) ?? '')
          .toLowerCase()
          .includes(wanted),
      )
    const { value } = columns.find(({ id }) => id === this.#by)
    const sign = this.#descending ? -1 : 1
    const found = (wanted === '' ? [...this.#rows] : this.#rows.filter(fits)).sort(
      (a, b) => sign * compare(value(a), value(b)),
    )
    for (const head of this.#heads) {
      if (head.dataset.column !== this.#by) head.removeAttribute('aria-sort')
      else head.setAttribute('aria-sort', this.#descending ? 'descending' : 'ascending')
    }
    this.#body.replaceChildren(...found.slice(0, this.#shown).map((row) => this.#rowOf(row)))
    this.#table.hidden = found.length === 0
    const all = this.#rows.length.toLocaleString()
    const some = wanted === '' ? `${all} in all` : `${found.length.toLocaleString()} of ${all}`
    this.#count.textContent = this.#rows.length === 0 ? empty : some
    this.#more.hidden = found.length <= this.#shown
    this.#more.textContent = `Show ${Math.min(PAGE_ROWS * 5, found.length - this.#shown)} more of ${found.length.toLocaleString()}`
  }
}

/**
 * Makes a table of rows. `columns`: `{ id, title, value(row), cell(row) }`, where `cell` may be missing. `keyOf(row)` names a row, `start` is the column
 * that it is sorted by at first, with `latestFirst` in descending order. The table has `element` and `show(rows)`.
 */
export function sortedTable(parts) {
  return new SortedTable(parts)
}

const TIME = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/

/** A value for people: times by the clock of the browser, large numbers with separators. */
export function shownValue(name, value) {
  if (value === undefined || value === null) return ''
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number') return /bytes/i.test(name) ? sizeText(value) : value.toLocaleString()
  if (typeof value === 'string') return TIME.test(value) ? new Date(value).toLocaleString() : value
  if (Array.isArray(value)) return value.map((each) => shownValue(name, each)).join(', ')
  return Object.entries(value)
    .map(([key, each]) => `${wordsOf(key)} ${shownValue(key, each)}`)
    .join(', ')
}

/** `uptimeSeconds` → `uptime seconds`. */
export function wordsOf(name) {
  return name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()
}

function isTable(value) {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((each) => typeof each === 'object' && each !== null && !Array.isArray(each))
  )
}

/** The result of any verb: a table for a list, terms for an object. */
export function resultView(value) {
  if (isTable(value)) {
    const names = [...new Set(value.flatMap((each) => Object.keys(each)))]
    const columns = names.map((id) => ({
      id,
      title: wordsOf(id),
      value: (row) => (typeof row[id] === 'number' ? row[id] : shownValue(id, row[id])),
      cell: (row) => shownValue(id, row[id]),
    }))
    const table = sortedTable({
      columns,
      keyOf: (row) => String(row[names[0]]),
      label: 'the result',
      empty: 'Nothing.',
      search: value.length > 10,
    })
    table.show(value)
    return table.element
  }
  if (Array.isArray(value)) return make('p', {}, value.length === 0 ? 'Nothing.' : shownValue('', value))
  if (typeof value !== 'object' || value === null) return make('p', {}, shownValue('', value))
  const entries = Object.entries(value)
  if (entries.length === 0) return make('p', {}, 'Done.')
  return make(
    'dl',
    { class: 'terms' },
    ...entries.flatMap(([name, each]) => [
      make('dt', {}, wordsOf(name)),
      make('dd', {}, isTable(each) ? resultView(each) : shownValue(name, each)),
    ]),
  )
}
