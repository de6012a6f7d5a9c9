import { OptionError } from '../overlay-core/index.ts'
import type { Arguments } from './arguments.ts'
import { absolute, type Environment } from './environment.ts'
import type { ReloadRequest } from './settings.ts'

/** The process of `--pid`, if it is given. @throws OptionError */
export function pidIn(values: Arguments['values']): number | undefined {
  const pid = values.get('--pid')?.[0]
  if (pid !== undefined && !/^[1-9]\d{0,9}$/.test(pid))
    throw new OptionError('--pid', `${JSON.stringify(pid)} is not a process id; use a number from overlayd status`)
  return pid === undefined ? undefined : Number(pid)
}

/** The server that a command is for. @throws OptionError */
export function serverChoice(values: Arguments['values'], environment: Environment): ReloadRequest {
  const given = values.get('--state-dir')?.[0]
  const stateDir = given === undefined ? environment.defaultStateDir : shortAbsolute(given, environment)
  return { pid: pidIn(values), stateDir }
}

/** Makes a path of the command line absolute, without `./` in front of it. */
export function shortAbsolute(path: string, environment: Environment): string {
  return absolute(path.replace(/^(\.\/+)+/, ''), environment)
}
