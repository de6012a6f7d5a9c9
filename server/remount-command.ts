import type { RemountSettings } from '../config/index.ts'
import { askServer, chooseViewServer } from './config-server.ts'
import { readRunFiles } from './state-dir.ts'

/**
 * `overlayd remount`: asks the running server that serves the view to change its layers or options. Returns the exit status: 0 if
 * it did, 1 if it could not be reached or failed.
 *
 * @throws OptionError as the server reported it; nothing has changed
 */
export async function askForRemount(settings: RemountSettings, print: (text: string) => void): Promise<number> {
  const { options, view, cwd } = settings
  const runFile = chooseViewServer(await readRunFiles(settings.stateDir), settings)
  if (typeof runFile === 'string') {
    print(`${runFile}\n`)
    return 1
  }
  const answer = await askServer(runFile, 'remount', { options, cwd, view: view ?? runFile.views[0] ?? '' })
  if ('failure' in answer) {
    print(`server ${runFile.pid} ${answer.failure}\n`)
    return 1
  }
  return 0
}
