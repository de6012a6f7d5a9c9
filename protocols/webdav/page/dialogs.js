// Elements, messages and dialogs. Names are untrusted, so they are inserted as text only.

/** Creates an element with attributes and children (elements or text). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else element.setAttribute(name, value)
  }
  element.append(...children)
  return element
}

export function complain(text) {
  const message = document.getElementById('message')
  message.textContent = text
  message.hidden = false
  message.scrollIntoView({ block: 'nearest' })
}

/** Describes an error: the server responds with a line of text, or with XML that only repeats the status. */
export async function explain(action, response) {
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

export async function send(action, method, url, headers = {}) {
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

/** Shows a dialog until it is closed; resolves to the value of the button that closed it, or to undefined. */
export function ask(title, ...content) {
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

export const closing = (value) => (event) => event.target.closest('dialog').close(value)

export function choice(text, value, className = '') {
  return make('button', { type: 'button', class: className, onclick: closing(value) }, text)
}

export function askForName(title, label, button, before = '') {
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

/** Asks before something is done. `text`: what follows from it. */
export async function confirmed(title, button, text = '') {
  const more = text === '' ? [] : [make('p', {}, text)]
  const answer = await ask(
    title,
    ...more,
    make('div', { class: 'end' }, choice('Cancel', ''), choice(button, 'yes', 'bad')),
  )
  return answer === 'yes'
}
