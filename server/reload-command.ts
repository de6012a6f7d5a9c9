import { Agent, request } from 'undici'
import type { ReloadRequest } from '../config/index.ts'
import type { Output } from './config-command.ts'
import type { ReloadReport } from './reload.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'

/** A remount waits for all running calls, so it takes as long as the longest one. */
const TIMEOUT_MS = 10 * 60_000

/**
 * `overlayd reload`: makes the running server read its configuration file again, and prints the result. Returns the exit status: 0 if everything that can
 * change has changed; 1 if the file has errors, something failed, or the server cannot be reached.
 */
export async function askForReload(asked: ReloadRequest, { print, printError }: Output): Promise<number> {
  const server = choose(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  const report = await post(server)
  if (typeof report === 'string') {
    printError(`overlayd: server ${server.pid} ${report}\n`)
    return 1
  }
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

/** The requested server, or why there is none. */
function choose(running: readonly RunFile[], { pid, stateDir }: ReloadRequest): RunFile | string {
  const fitting = running.filter((server) => server.config !== undefined && (pid === undefined || server.pid === pid))
  if (fitting.length === 1 && fitting[0]) return fitting[0]
  if (fitting.length === 0)
    return `no server of a configuration file runs with the state directory ${stateDir}; use --state-dir`
  return `several servers run with the state directory ${stateDir}: ${fitting.map((server) => server.pid).join(', ')}; use --pid`
}

async function post({ control: { port, token } }: RunFile): Promise<ReloadReport | string> {
  const dispatcher = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS })
  try {
    const answer = await request(`http://127.0.0.1:${port}/reload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      dispatcher,
    })
    if (answer.statusCode === 200) return (await answer.body.json()) as ReloadReport
    await answer.body.dump()
    return `answers ${answer.statusCode}; its log says why`
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return code === 'ECONNREFUSED' ? 'does not listen any more' : `does not answer (${code ?? message})`
  } finally {
    await dispatcher.close()
  }
}
