import { homedir } from 'node:os'
import { actsAsRoot } from '../overlay-core/index.ts'
import { readServiceManager, type ServiceManager } from './service-manager.ts'

/** The environment in which the command line is parsed, read from the process once and passed on. */
export interface Environment {
  readonly cwd: string
  /** Effective user id, or 0 if the process may do to its layers what root may; undefined on a system without user ids. */
  readonly uid: number | undefined
  /** An absolute path. */
  readonly defaultStateDir: string
  /** The environment variables that a configuration file may refer to. */
  readonly variables?: Readonly<Record<string, string | undefined>>
  /** What a service manager has told this process. */
  readonly manager?: ServiceManager
}

/** Makes a path of the command line absolute. */
export function absolute(path: string, { cwd }: Pick<Environment, 'cwd'>): string {
  return path.startsWith('/') ? path : `${cwd === '/' ? '' : cwd}/${path}`
}

/** Reads the environment of this process. No other place reads environment variables. @throws OptionError as `readServiceManager` */
export function readEnvironment(): Environment {
  const uid = actsAsRoot() ? 0 : process.geteuid?.()
  const stateDir = defaultStateDir(uid, process.env.XDG_STATE_HOME, homedir())
  const manager = readServiceManager(process.env, process.pid, process.ppid)
  return { cwd: process.cwd(), uid, defaultStateDir: stateDir, variables: process.env, manager }
}

/** The default state directory. A relative `$XDG_STATE_HOME` is ignored (XDG base directory specification). */
export function defaultStateDir(uid: number | undefined, xdgStateHome: string | undefined, home: string): string {
  if (uid === 0) return '/var/lib/overlayd'
  return xdgStateHome?.startsWith('/') ? `${xdgStateHome}/overlayd` : `${home}/.local/state/overlayd`
}
