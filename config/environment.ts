import { homedir } from 'node:os'

/** What the command line is read against, taken from the process once and handed on. */
export interface Environment {
  readonly cwd: string
  /** Effective user id; undefined where the system has none. */
  readonly uid: number | undefined
  /** Absolute. */
  readonly defaultStateDir: string
}

/** The environment of this process. The only place that reads environment variables. */
export function readEnvironment(): Environment {
  const uid = process.geteuid?.()
  return { cwd: process.cwd(), uid, defaultStateDir: defaultStateDir(uid, process.env.XDG_STATE_HOME, homedir()) }
}

/** The state directory when none is named. A relative `$XDG_STATE_HOME` does not count (XDG base directory specification). */
export function defaultStateDir(uid: number | undefined, xdgStateHome: string | undefined, home: string): string {
  if (uid === 0) return '/var/lib/overlayd'
  return xdgStateHome?.startsWith('/') ? `${xdgStateHome}/overlayd` : `${home}/.local/state/overlayd`
}
