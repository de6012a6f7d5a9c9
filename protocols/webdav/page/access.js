// The script of the page on which a user makes, lists and revokes app passwords and links.

import { complain, confirmed, make } from './dialogs.js'
import { quoted } from './links.js'
import { askForToken, call, expiryField, given, labelled, select, showOnce, textField } from './tokens.js'

const { user } = document.body.dataset
const views = JSON.parse(document.body.dataset.views)
/** Whose they are: an admin may look at those of others. */
const of = new URLSearchParams(location.search).get('user') ?? undefined
const whose = of ?? user
const body = document.querySelector('table').tBodies[0]
const MAY = { read: 'read', write: 'read and change', drop: 'add files' }

function opens({ view, path }) {
  if (view === null) return 'all views'
  return path === '/' ? `/${view}/` : `/${view}${path}`
}

/** A day as YYYY-MM-DD, by the clock of the browser; the full time in its title. */
function day(text) {
  const date = new Date(text)
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 10)
  return make('time', { datetime: text, title: date.toLocaleString() }, local)
}

function expiry({ expires }) {
  if (expires === null) return 'never'
  return Date.parse(expires) <= Date.now() ? make('span', { class: 'badge changed' }, 'expired') : day(expires)
}

async function revoke({ id, name, kind }) {
  const what =
    kind === 'link' ? 'Whoever has the link cannot use it any more.' : 'Programs that use it cannot log in any more.'
  if (!(await confirmed(`Revoke “${name}”?`, 'Revoke', what))) return
  const { error } = await call('DELETE', { id, of })
  if (error !== undefined) complain(`Revoke ${name}: ${error}`)
  await load()
}

function row(token) {
  const { name, kind, mode, created, used } = token
  const button = make(
    'button',
    { type: 'button', 'aria-label': `Revoke ${name}`, onclick: () => revoke(token) },
    'Revoke…',
  )
  const cell = (column, label, ...content) => make('td', { class: column, 'data-label': label }, ...content)
  return make(
    'tr',
    { 'data-id': token.id, 'data-name': name },
    cell('name', '', name, ' ', make('span', { class: 'badge upper' }, kind === 'link' ? 'link' : 'app password')),
    cell('detail', 'Opens', opens(token)),
    cell('detail', 'To', MAY[mode]),
    cell('detail', 'Made', day(created)),
    cell('detail', 'Expires', expiry(token)),
    cell('detail', 'Used', used ? 'yes' : 'not yet'),
    cell('act', '', button),
  )
}

/** Shows the present list. */
async function load() {
  const { answer = [], error } = await call('GET', { of })
  if (error !== undefined) complain(`The list cannot be shown: ${error}`)
  body.replaceChildren(...answer.toReversed().map(row))
  document.querySelector('table').hidden = answer.length === 0
  document.querySelector('.empty').hidden = answer.length > 0 || error !== undefined
}

/** A text for a file of davfs2, in which white space ends it (davfs2.conf(5)). */
function forSecrets(text) {
  return /^[\w@.+-]+$/.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`
}

function usesOf({ secret, view, path, mode }) {
  const name = view ?? views[0] ?? 'VIEW'
  const way = [name, ...path.split('/')].filter((part) => part !== '').map(encodeURIComponent)
  const url = `${location.origin}/${way.join('/')}/`
  const short = name.replace(/\W/g, '') || 'overlayd'
  return [
    ['Finder, Windows, GNOME Files', `${url}\nname: ${whose}\npassword: ${secret}`],
    [
      'Linux, davfs2: the line for /etc/davfs2/secrets, and the command',
      `/mnt ${forSecrets(whose)} ${secret}\n\nmount -t davfs${mode === 'read' ? ' -o ro' : ''} ${url} /mnt`,
    ],
    [
      'rclone',
      `rclone config create ${short} webdav url=${url} vendor=owncloud user=${quoted(whose)} pass=${secret} --obscure`,
    ],
    ['curl', `curl -u ${quoted(`${whose}:${secret}`)} ${url}`],
  ]
}

async function makePassword() {
  const fields = {
    name: textField('token-name', { maxlength: '100', required: '', placeholder: 'laptop' }),
    view: select('token-view', [['', 'all my views'], ...views.map((view) => [view, `/${view}/`])]),
    path: textField('token-path', { maxlength: '4096', placeholder: 'all of it', disabled: '' }),
    mode: select('token-mode', [
      ['write', 'read and change'],
      ['read', 'read'],
    ]),
    expires: expiryField(String(180 * 86_400)),
  }
  fields.view.addEventListener('change', () => {
    fields.path.disabled = fields.view.value === ''
    if (fields.path.disabled) fields.path.value = ''
  })
  const wishOf = () =>
    given({
      ...{ name: fields.name.value.trim(), view: fields.view.value, path: fields.path.value, mode: fields.mode.value },
      seconds: fields.expires.value && Number(fields.expires.value),
    })
  const made = await askForToken('New app password', 'Make it', {
    fields: [
      labelled('Name: the device or program', fields.name),
      labelled('It opens', fields.view),
      labelled('Only this folder in it', fields.path),
      labelled('To', fields.mode),
      labelled('It expires', fields.expires),
    ],
    ...{ wishOf, of },
  })
  if (made === undefined) return
  await load()
  await showOnce(`The app password “${made.name}” is made`, {
    label: `The password, to use with the name ${whose}`,
    secret: made.secret,
    advice: 'Copy it, and keep it where nobody else can read it.',
    uses: usesOf(made),
  })
}

const button = document.getElementById('new-password')
button.addEventListener('click', makePassword)
button.hidden = false
await load()
document.body.dataset.ready = ''
