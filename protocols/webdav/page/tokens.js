// App passwords and links: the calls of the server, the parts of a form, and a secret that is shown once.

import { ask, choice, closing, make } from './dialogs.js'

const CALLS = '/-/tokens'

/** What an answer without words of its own means. */
const WORDS = {
  401: 'you are not logged in any more; open the page again',
  403: 'not allowed',
  404: 'there is no such app password or link any more',
  413: 'the text is too long; shorten it',
  507: 'no space left on the server',
}

/** Calls the server. Returns what it says, or why not as `error`, in words. `of`: another user, for an admin. */
export async function call(method, { id, of, wish } = {}) {
  const query = of === undefined ? '' : `?user=${encodeURIComponent(of)}`
  const path = id === undefined ? CALLS : `${CALLS}/${encodeURIComponent(id)}`
  const body = wish && { body: JSON.stringify(wish), headers: { 'Content-Type': 'application/json' } }
  try {
    const response = await fetch(path + query, { method, ...body })
    const type = response.headers.get('content-type') ?? ''
    const answer = type.startsWith('application/json')
      ? await response.json()
      : { error: (await response.text()).trim() }
    if (response.ok) return { answer }
    return { error: WORDS[response.status] ?? answer.error ?? `it failed (${response.status})` }
  } catch {
    return { error: 'no answer from the server' }
  }
}

// Forms

export function select(id, options, chosen = options[0][0]) {
  const made = options.map(([value, text]) =>
    make('option', { value, ...(value === chosen && { selected: '' }) }, text),
  )
  return make('select', { id }, ...made)
}

export function textField(id, attributes = {}) {
  return make('input', { id, autocomplete: 'off', spellcheck: 'false', ...attributes })
}

export function labelled(text, control) {
  return make('div', { class: 'field' }, make('label', { for: control.id }, text), control)
}

const DAY = 86_400

/** When it expires: values are seconds, empty for never. */
export function expiryField(chosen) {
  const days = [
    [1, 'in a day'],
    [7, 'in a week'],
    [30, 'in 30 days'],
    [180, 'in 180 days'],
    [365, 'in a year'],
  ]
  return select('expires', [...days.map(([count, text]) => [String(count * DAY), text]), ['', 'never']], chosen)
}

/** What a form says, without what was left empty. */
export function given(wish) {
  return Object.fromEntries(Object.entries(wish).filter(([, value]) => value !== '' && value !== undefined))
}

/**
 * Asks for a new app password or link until the server has made it. `wishOf` reads the fields. Resolves to what was made; undefined: nothing.
 */
export async function askForToken(title, button, { fields, wishOf, of }) {
  const error = make('p', { class: 'error', role: 'alert', hidden: '' })
  const main = make('button', { class: 'main' }, button)
  let made
  const submit = async (event) => {
    event.preventDefault()
    main.disabled = true
    const result = await call('POST', { of, wish: wishOf() })
    main.disabled = false
    error.textContent = result.error === undefined ? '' : `Not made: ${result.error}`
    error.hidden = result.error === undefined
    made = result.answer
    if (made !== undefined) error.closest('dialog').close('made')
  }
  const end = make('div', { class: 'end' }, choice('Cancel', ''), main)
  await ask(title, make('form', { onsubmit: submit }, ...fields, error, end))
  return made
}

// What is shown once

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // Without a permission, or in an old browser: what is selected can be copied.
    const field = make('textarea', { readonly: '' })
    field.value = text
    button.after(field)
    field.select()
    document.execCommand('copy')
    field.remove()
    button.focus()
  }
  button.textContent = 'Copied'
}

function copyButton(text, label) {
  const button = make('button', { type: 'button', 'aria-label': label }, 'Copy')
  button.addEventListener('click', () => copy(text, button))
  return button
}

/** Shows a secret, and what to do with it: `uses` are titles and texts to copy. Resolves when it was closed. */
export function showOnce(title, { label, secret, advice, uses }) {
  const field = make('input', { id: 'secret', readonly: '', spellcheck: 'false' })
  field.value = secret
  field.addEventListener('focus', () => field.select())
  const shown = uses.map(([name, text]) =>
    make(
      'div',
      { class: 'use' },
      make('div', { class: 'head' }, make('span', {}, name), copyButton(text, `Copy: ${name}`)),
      make('pre', {}, text),
    ),
  )
  return ask(
    title,
    make('p', { class: 'once' }, `It is shown only now. ${advice}`),
    make('label', { for: 'secret' }, label),
    make('div', { class: 'beside' }, field, copyButton(secret, `Copy: ${label}`)),
    ...shown,
    make('div', { class: 'end' }, make('button', { type: 'button', class: 'main', onclick: closing('') }, 'Done')),
  )
}
