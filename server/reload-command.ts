import type { ReloadRequest } from '../config/index.ts'
import type { Output } from './config-command.ts'
import { askServer, chooseConfigServer } from './config-server.ts'
import { readRunFiles } from './state-dir.ts'

/**
 * `overlayd reload`: makes the running server read its configuration file again, and prints the result. Returns the exit status: 0 if everything that can
 * change has changed; 1 if the file has errors, something failed, or the server cannot be reached.
 */
export async function askForReload(asked: ReloadRequest, { print, printError }: Output): Promise<number> {
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  const answer = await askServer(server, 'reload', {})
  if ('failure' in answer) {
    printError(`overlayd: server ${server.pid} ${answer.failure}\n`)
    return 1
  }
  const report = answer.result
  if (report.refused !== undefined) {
    printError(`${report.refused}overlayd: the file has errors, so server ${server.pid} runs on unchanged\n`)
    return 1
  }
  for (const line of report.applied) print(`applied: ${line}\n`)
  for (const line of report.restart) print(`needs a restart: ${line}\n`)
  for (const line of report.failed) printError(`failed: ${line}\n`)
  if (report.applied.length + report.restart.length + report.failed.length === 0) print('nothing has changed\n')
  return report.failed.length > 0 ? 1 : 0
}
