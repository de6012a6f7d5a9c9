import { chown, link, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { UserRequest } from '../config/index.ts'
import { nearestWord, OptionError } from '../overlay-core/index.ts'
import type { Output } from './config-command.ts'
import { loadConfig } from './config-file.ts'
import {
  loginNameError,
  MOST_PASSWORD_BYTES,
  newHash,
  type PasswordEntry,
  parsePasswordFile,
  SALT_BYTES,
} from './login/index.ts'
import { systemRandom } from './random.ts'
import { readNewPassword } from './read-password.ts'
import { asideName, writeWhole } from './whole-file.ts'

/**
 * `overlayd user …`: lists or changes the accounts of a password file, which a running server reads again by itself. The file is replaced as a whole.
 *
 * @throws OptionError nothing has changed
 */
export async function changeUsers(asked: UserRequest, { print, printError }: Output): Promise<number> {
  const path = await pathOf(asked)
  const text = await readIfAny(path)
  const { entries, problems } = parsePasswordFile(text ?? '')
  for (const problem of problems) printError(`overlayd: ${path}: ${problem}\n`)
  const { verb, name, json } = asked
  if (verb === 'list') {
    if (text === undefined) throw new OptionError('user', `there is no file ${path}; overlayd user add makes it`)
    print(json ? `${JSON.stringify([...entries.values()].map(shown), null, 2)}\n` : table([...entries.values()]))
    return 0
  }
  const lines = (text ?? '').split('\n').filter((line, at, all) => line !== '' || at < all.length - 1)
  const at = lines.findIndex((line) => line.split(':')[0] === name)
  if (verb === 'add') refuseKnown(name, at >= 0)
  else if (at < 0) throw unknown(name, path, entries)
  if (verb === 'remove') lines.splice(at, 1)
  else lines.splice(at < 0 ? lines.length : at, 1, `${name}:${await askHash(name, printError)}`)
  await replace(path, `${lines.join('\n')}\n`, text)
  if (json) print(`${JSON.stringify({ name, done: DONE[verb], file: path })}\n`)
  else print(`${DONE[verb]} ${name} (${path})\n`)
  return 0
}

const DONE = { add: 'added', passwd: 'changed the password of', remove: 'removed' } as const

async function pathOf({ config, file }: UserRequest): Promise<string> {
  if (file !== undefined) return file
  const { draft, name } = await loadConfig(config!)
  const path = draft.login?.passwordFile
  if (path !== undefined) return path
  throw new OptionError('--config', `${name} names no password file; set login.password_file, or use --file FILE`)
}

async function readIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new OptionError('user', `cannot read ${path} (${code ?? String(error)})`)
  }
}

function refuseKnown(name: string, known: boolean): void {
  const wrong = loginNameError(name)
  if (wrong !== undefined) throw new OptionError('user', wrong)
  if (known) throw new OptionError('user', `${name} exists already; use overlayd user passwd ${name}`)
}

function unknown(name: string, path: string, entries: ReadonlyMap<string, PasswordEntry>): OptionError {
  const near = nearestWord(name, entries.keys())
  const mend = near === undefined ? 'see overlayd user list' : `did you mean ${near}?`
  return new OptionError('user', `there is no user ${JSON.stringify(name)} in ${path}; ${mend}`)
}

async function askHash(name: string, ask: (text: string) => void): Promise<string> {
  const password = await readNewPassword(name, process.stdin, ask)
  if (Buffer.byteLength(password) > MOST_PASSWORD_BYTES)
    throw new OptionError('password', `is longer than ${MOST_PASSWORD_BYTES} bytes; use a shorter one`)
  return newHash(password, systemRandom(SALT_BYTES))
}

/** Replaces the file in one step, unless somebody else has changed it meanwhile. Its mode and owner stay. */
async function replace(path: string, text: string, before: string | undefined): Promise<void> {
  const aside = asideName(path)
  try {
    const { mode, uid, gid } = before === undefined ? { mode: 0o600, uid: undefined, gid: undefined } : await stat(path)
    await writeWhole(aside, text, mode & 0o770)
    if (uid !== undefined) await chown(aside, uid, gid)
    if ((await readIfAny(path)) !== before)
      throw new OptionError('user', `somebody else has changed ${path} meanwhile; try again`)
    // A new file must not replace one that another process has just made.
    if (before === undefined) await link(aside, path)
    else await rename(aside, path)
  } catch (error) {
    if (error instanceof OptionError) throw error
    const { code } = error as NodeJS.ErrnoException
    const mend = code === 'ENOENT' ? `make ${dirname(path)} first` : 'nothing has changed'
    throw new OptionError('user', `cannot write ${path} (${code ?? String(error)}); ${mend}`)
  } finally {
    await rm(aside, { force: true })
  }
}

function shown({ name, hash }: PasswordEntry) {
  return { name, hash: hash.startsWith('$argon2id$') ? 'argon2id' : 'bcrypt' }
}

function table(entries: readonly PasswordEntry[]): string {
  if (entries.length === 0) return 'there are no users yet\n'
  return entries.map((entry) => `${entry.name}\n`).join('')
}
