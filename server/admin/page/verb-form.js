// A dialog for any verb: its fields come from the API document. What would happen is shown first, where the verb can tell.

import { followJob, run } from './api.js'
import { ask, choice, make } from './dialogs.js'
import { resultView, wordsOf } from './tables.js'

/** The field of an order by which a verb only says what it would do. */
const DRY = 'dryRun'
/** Verbs after which something is gone. */
const DESTROYS = /\b(remove|reset|rollback|drop|gc|kick|break|revoke|purge|empty|dedupe|restore)\b/

export function destroys({ name }) {
  return DESTROYS.test(name)
}

function fieldFor(name, schema, required, value) {
  const id = `field-${name}`
  const attributes = { id, name, ...(required && { required: '' }) }
  const label = make('label', { for: id }, wordsOf(name))
  const help =
    schema.description === undefined
      ? []
      : [make('small', { id: `${id}-help` }, schema.description.replaceAll('`', ''))]
  if (help.length > 0) attributes['aria-describedby'] = `${id}-help`
  if (schema.type === 'boolean') {
    const box = make('input', { ...attributes, type: 'checkbox' })
    box.required = false
    box.checked = value === true
    return make('div', { class: 'field check' }, box, label, ...help)
  }
  let control
  if (schema.enum !== undefined)
    control = make(
      'select',
      attributes,
      ...(required ? [] : [make('option', { value: '' }, '')]),
      ...schema.enum.map((word) => make('option', { value: word }, word)),
    )
  else if (schema.type === 'array')
    control = make('textarea', { ...attributes, rows: '3', placeholder: 'one on a line', spellcheck: 'false' })
  else if (schema.type === 'integer' || schema.type === 'number')
    control = make('input', {
      ...attributes,
      type: 'number',
      ...(schema.minimum !== undefined && { min: String(schema.minimum) }),
    })
  else if (schema.type === 'string')
    control = make('input', { ...attributes, autocomplete: 'off', spellcheck: 'false' })
  else control = make('textarea', { ...attributes, rows: '3', placeholder: 'JSON', spellcheck: 'false' })
  if (value !== undefined) control.value = Array.isArray(value) ? value.join('\n') : String(value)
  return make('div', { class: 'field' }, label, control, ...help)
}

function valueIn(form, name, schema) {
  const control = form.elements.namedItem(name)
  if (schema.type === 'boolean') return control.checked || undefined
  const text = control.value
  if (text === '') return undefined
  if (schema.type === 'array')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (schema.items?.type === 'integer' ? Number(line) : line))
  if (schema.type === 'integer' || schema.type === 'number') return Number(text)
  return schema.type === 'string' || schema.enum !== undefined ? text : JSON.parse(text)
}

function orderIn(form, { fields }) {
  const entries = Object.entries(fields)
    .filter(([name]) => name !== DRY)
    .map(([name, schema]) => [name, valueIn(form, name, schema)])
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

/** Executes an order, waits for a job, and shows in `output` how far it is and what it came to. Returns whether it was done. */
async function execute(verb, order, output) {
  output.replaceChildren(make('p', {}, 'Working…'))
  try {
    let result = await run(verb.name, order)
    if (verb.isJob) {
      const bar = make('progress', { 'aria-label': verb.name })
      const text = make('span', {}, '')
      const cancel = make(
        'button',
        { type: 'button', onclick: () => run('job cancel', { id: result.id }) },
        'Cancel it',
      )
      output.replaceChildren(make('div', { class: 'job' }, bar, text, cancel))
      const job = await followJob(result.id, ({ progress }) => showProgress(bar, text, progress))
      if (job.state !== 'done') throw new Error(job.error?.message ?? 'it was cancelled')
      result = job.result ?? {}
    }
    output.replaceChildren(resultView(result))
    return true
  } catch (error) {
    output.replaceChildren(make('p', { class: 'error', role: 'alert' }, error.message))
    return false
  }
}

export function showProgress(bar, text, progress) {
  if (progress?.total > 0) {
    bar.max = progress.total
    bar.value = progress.done ?? 0
  } else bar.removeAttribute('value')
  const numbers =
    progress?.done === undefined
      ? ''
      : `${progress.done.toLocaleString()}${progress.total === undefined ? '' : ` of ${progress.total.toLocaleString()}`}`
  text.textContent = [progress?.text, numbers].filter(Boolean).join(' · ')
}

/** The dialog of one verb. */
class VerbDialog {
  /** Whether anything was changed. */
  done = false
  #verb
  #canTry
  #tried
  #output = make('div', { class: 'output', 'aria-live': 'polite' })
  #main
  #real
  #close = choice('Cancel', '')
  form

  constructor(verb, given) {
    const { name, summary, fields, required, changes } = verb
    this.#verb = verb
    this.#canTry = DRY in fields
    const style = destroys(verb) ? 'bad' : 'main'
    const first = this.#canTry ? 'Show what would happen' : changes ? wordOf(name) : 'Show'
    this.#main = make('button', { class: this.#canTry ? 'main' : style }, first)
    this.#real = make('button', { type: 'button', class: style, hidden: '' }, wordOf(name))
    const controls = Object.entries(fields)
      .filter(([field]) => field !== DRY)
      .map(([field, schema]) => fieldFor(field, schema, required.includes(field), given[field]))
    const end = make('div', { class: 'end' }, this.#close, this.#main, this.#real)
    const lead = make('p', { class: 'lead' }, summary.replaceAll('`', ''))
    this.form = make('form', {}, lead, ...controls, this.#output, end)
    this.form.addEventListener('submit', (event) => this.#submit(event))
    this.form.addEventListener('input', () => {
      this.#real.hidden = true
    })
    this.#real.addEventListener('click', () => this.#finish(this.#tried))
  }

  async #submit(event) {
    event.preventDefault()
    let order
    try {
      order = orderIn(this.form, this.#verb)
    } catch {
      this.#output.replaceChildren(make('p', { class: 'error', role: 'alert' }, 'A field is not JSON.'))
      return
    }
    if (!this.#canTry) return await this.#finish(order)
    this.#main.disabled = true
    this.#tried = order
    this.#real.hidden = !(await execute(this.#verb, { ...order, [DRY]: true }, this.#output))
    this.#main.disabled = false
  }

  async #finish(order) {
    for (const button of [this.#main, this.#real]) button.disabled = true
    const well = await execute(this.#verb, order, this.#output)
    for (const button of [this.#main, this.#real]) button.disabled = false
    if (!well) return
    this.done ||= this.#verb.changes
    this.#close.textContent = 'Close'
    this.#main.hidden = this.#verb.changes
    this.#real.hidden = true
    this.#close.focus()
  }
}

/** Asks for the order of a verb, and executes it. `given`: values that are known. Resolves to whether anything was changed. */
export async function orderVerb(verb, given = {}) {
  const dialog = new VerbDialog(verb, given)
  await ask(titleOf(verb.name, given), dialog.form)
  return dialog.done
}

function wordOf(name) {
  const word = name.split(' ').at(-1)
  return word[0].toUpperCase() + word.slice(1)
}

function titleOf(name, { view }) {
  return view === undefined ? name : `${name} ${view}`
}
