import { homedir } from 'node:os'

/** The environment in which the command line is parsed, read from the process once and passed on. */
export interface Environment {
  readonly cwd: string
  /** Effective user id; undefined where the system has none. */
  readonly uid: number | undefined
  /** Absolute. */
  readonly defaultStateDir: string
}

/** Reads the environment of this process. No other place reads environment variables. */
export function readEnvironment(): Environment {
  const uid = process.geteuid?.()
  return { cwd: process.cwd(), uid, defaultStateDir: defaultStateDir(uid, process.env.XDG_STATE_HOME, homedir()) }
}

/** The state directory when none is given. A relative `$XDG_STATE_HOME` is ignored (XDG base directory specification). */
export function defaultStateDir(uid: number | undefined, xdgStateHome: string | undefined, home: string): string {
  if (uid === 0) return '/var/lib/overlayd'
  return xdgStateHome?.startsWith('/') ? `${xdgStateHome}/overlayd` : `${home}/.local/state/overlayd`
}
