// The order of the rows.

import { make } from './dialogs.js'

const table = document.querySelector('table')

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

export function enableSorting() {
  for (const head of table.tHead.querySelectorAll('[data-column]')) {
    const { column } = head.dataset
    const text = head.textContent
    const sort = () => sortBy(column, head.getAttribute('aria-sort') === 'ascending')
    head.replaceChildren(make('button', { type: 'button', onclick: sort }, text))
  }
  const [, minus, column] = /^#(-?)(\w+)$/.exec(location.hash) ?? []
  if (column in COLUMNS) sortBy(column, minus === '-')
}
