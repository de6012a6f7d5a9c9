import { execFile } from 'node:child_process'

const TIMEOUT_MS = 5000
/** Processes at a time: whoever makes up many users shall not fill this machine with them. */
const MAX_RUNNING = 4
/** The user that owns nothing, as almost every Linux numbers it (nobody, and nogroup or nobody). */
const NOBODY = { uid: 65_534, gid: 65_534 }
/** getent(1): the key was not found. */
const NOT_FOUND = 2

let running = 0
const waiting: (() => void)[] = []

/**
 * All groups of a user by the machine's name service (files, LDAP, whatever nsswitch.conf says), asked for by getent and id, as they may take their
 * time. Undefined when there is no such user.
 *
 * @throws Error they do not answer
 */
export async function groupsOf(uid: number): Promise<readonly number[] | undefined> {
  if (running >= MAX_RUNNING) await new Promise<void>((resolve) => waiting.push(resolve))
  running++
  try {
    const name = (await run('getent', ['passwd', String(uid)]))?.split(':')[0]
    if (!name || name.startsWith('-')) return undefined
    const groups = (await run('id', ['-G', name]))?.trim().split(/\s+/).map(Number)
    return groups?.filter((gid) => Number.isInteger(gid))
  } finally {
    running--
    waiting.shift()?.()
  }
}

/** The user called nobody, by the machine's name service; with the usual numbers where that knows none. */
export async function nobody(): Promise<{ readonly uid: number; readonly gid: number }> {
  try {
    const [, , uid, gid] = (await run('getent', ['passwd', 'nobody']))?.split(':') ?? []
    const found = { uid: Number(uid), gid: Number(gid) }
    // A user with the powers of root is none to fall back on, whatever it is called.
    return found.uid > 0 && found.gid > 0 ? found : NOBODY
  } catch {
    // A system without name service still has a user that owns nothing.
    return NOBODY
  }
}

function run(program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout: TIMEOUT_MS }, (error, stdout) => {
      if (error === null) resolve(stdout)
      else if (error.code === NOT_FOUND) resolve(undefined)
      else reject(error)
    })
  })
}
