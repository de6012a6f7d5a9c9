// Making a link to a file or folder of one's view.

import { make } from './dialogs.js'
import { askForToken, expiryField, given, labelled, select, showOnce, textField } from './tokens.js'

const WEEK = '604800'

function modes(folder, readOnly) {
  const read = ['read', 'read']
  if (readOnly) return [read]
  return folder
    ? [read, ['drop', 'add files, without seeing any'], ['write', 'read and change everything']]
    : [read, ['write', 'read and change it']]
}

/** A text as one word of a shell. */
export function quoted(text) {
  return /^[\w@%+=:,./~-]+$/.test(text) && !text.startsWith('~') ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function usesOf(url, { mode, folder, password }) {
  const login = password === undefined ? '' : ` -u ${quoted(`any:${password}`)}`
  if (mode === 'drop') return [['curl', `curl${login} -T essay.pdf ${url}`]]
  if (!folder) return [['curl', `curl${login} -o FILE ${url}`]]
  const rclone =
    password === undefined ? '' : ` --webdav-user any --webdav-pass "$(rclone obscure ${quoted(password)})"`
  return [['rclone', `rclone copy :webdav: DIRECTORY --webdav-url ${url}${rclone}`]]
}

/** Asks what a link to `path` in `view` may do, makes it, and shows it. */
export async function askForLink({ view, path, name, folder, readOnly }) {
  const fields = {
    name: textField('token-name', { value: name.slice(0, 100), maxlength: '100', required: '' }),
    mode: select('token-mode', modes(folder, readOnly)),
    expires: expiryField(WEEK),
    password: textField('token-password', { maxlength: '200' }),
  }
  const wishOf = () =>
    given({
      ...{ kind: 'link', view, path, name: fields.name.value.trim(), mode: fields.mode.value },
      password: fields.password.value,
      seconds: fields.expires.value && Number(fields.expires.value),
    })
  const made = await askForToken(`Link to ${name}`, 'Make the link', {
    fields: [
      make('p', { class: 'lead' }, 'Anybody who has the link can use it, without an account.'),
      labelled('Name, for your list', fields.name),
      labelled('Whoever has it may', fields.mode),
      labelled('It expires', fields.expires),
      labelled('Password, if wanted', fields.password),
    ],
    wishOf,
  })
  if (made === undefined) return
  const { password } = wishOf()
  const url = new URL(made.href, location.href).href
  await showOnce(`The link “${made.name}” is made`, {
    label: password === undefined ? 'The link' : 'The link; it asks for the password, with any name',
    secret: url,
    advice: 'Copy it, and send it to those who may use it.',
    uses: usesOf(url, { mode: made.mode, folder, password }),
  })
}
