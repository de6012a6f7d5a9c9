import { homedir } from 'node:os'

/** The environment in which the command line is parsed, read from the process once and passed on. */
export interface Environment {
  readonly cwd: string
  /** Effective user id; undefined on a system without user ids. */
  readonly uid: number | undefined
  /** An absolute path. */
  readonly defaultStateDir: string
  /** The environment variables that a configuration file may refer to. */
  readonly variables?: Readonly<Record<string, string | undefined>>
}

/** Makes a path of the command line absolute. */
export function absolute(path: string, { cwd }: Pick<Environment, 'cwd'>): string {
  return path.startsWith('/') ? path : `${cwd === '/' ? '' : cwd}/${path}`
}

/** Reads the environment of this process. No other place reads environment variables. */
export function readEnvironment(): Environment {
  const uid = process.geteuid?.()
  const stateDir = defaultStateDir(uid, process.env.XDG_STATE_HOME, homedir())
  return { cwd: process.cwd(), uid, defaultStateDir: stateDir, variables: process.env }
}

/** The default state directory. A relative `$XDG_STATE_HOME` is ignored (XDG base directory specification). */
export function defaultStateDir(uid: number | undefined, xdgStateHome: string | undefined, home: string): string {
  if (uid === 0) return '/var/lib/overlayd'
  return xdgStateHome?.startsWith('/') ? `${xdgStateHome}/overlayd` : `${home}/.local/state/overlayd`
}
