import { execFile } from 'node:child_process'

const TIMEOUT_MS = 5000
/** The limit of concurrent processes, so that a client that invents users cannot flood this machine with them. */
const MAX_RUNNING = 4
/** The usual ids of the user nobody and its group on Linux. */
const NOBODY = { uid: 65_534, gid: 65_534 }
/** getent(1): the key was not found. */
const NOT_FOUND = 2

let running = 0
const waiting: (() => void)[] = []

/**
 * All groups of a user according to the name service of this machine (files, LDAP, whatever nsswitch.conf says). Runs getent and id, because lookups may take
 * long. Undefined if there is no such user.
 *
 * @throws Error the commands fail
 */
export async function groupsOf(uid: number): Promise<readonly number[] | undefined> {
  return await limited(async () => {
    const name = (await run('getent', ['passwd', String(uid)]))?.split(':')[0]
    if (!name || name.startsWith('-')) return undefined
    const groups = (await run('id', ['-G', name]))?.trim().split(/\s+/).map(Number)
    return groups?.filter((gid) => Number.isInteger(gid))
  })
}

/** The ids of the user nobody according to the name service, or the usual ids if it has no such user. */
export async function nobody(): Promise<{ readonly uid: number; readonly gid: number }> {
  try {
    const [, , uid, gid] = (await run('getent', ['passwd', 'nobody']))?.split(':') ?? []
    const found = { uid: Number(uid), gid: Number(gid) }
    // Never fall back to a user with the powers of root, whatever its name.
    return found.uid > 0 && found.gid > 0 ? found : NOBODY
  } catch {
    // Without a name service, use the usual ids.
    return NOBODY
  }
}

/** The user and the primary group of a login name; undefined if there is no such user. @throws Error getent fails */
export async function userByName(name: string): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  const [found, , uid, gid] = (await limited(() => run('getent', ['passwd', '--', name])))?.trim().split(':') ?? []
  // getent also takes the number of a user for its name.
  if (found !== name) return undefined
  const ids = { uid: Number(uid), gid: Number(gid) }
  return Number.isInteger(ids.uid) && Number.isInteger(ids.gid) ? ids : undefined
}

/** The id of a group; undefined if there is none of this name. @throws Error getent fails */
export async function groupByName(name: string): Promise<number | undefined> {
  const [found, , gid] = (await limited(() => run('getent', ['group', '--', name])))?.trim().split(':') ?? []
  // getent also takes the number of a group for its name.
  return found === name && Number.isInteger(Number(gid)) ? Number(gid) : undefined
}

/** The login name of a user; undefined if there is no such user. @throws Error getent fails */
export async function userName(uid: number): Promise<string | undefined> {
  return (await limited(() => run('getent', ['passwd', String(uid)])))?.split(':')[0] || undefined
}

/** Runs `look` when fewer than the limit of processes run. */
async function limited<T>(look: () => Promise<T>): Promise<T> {
  if (running >= MAX_RUNNING) await new Promise<void>((resolve) => waiting.push(resolve))
  running++
  try {
    return await look()
  } finally {
    running--
    waiting.shift()?.()
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
