import type { RemountSettings } from '../config/index.ts'
import { askControl } from './config-server.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'

/**
 * `overlayd remount`: asks the running server that serves the view to change its layers or options. Returns the exit status: 0 if
 * it did, 1 if it could not be reached or failed.
 *
 * @throws OptionError as the server reported it; nothing has changed
 */
export async function askForRemount(settings: RemountSettings, print: (text: string) => void): Promise<number> {
  const { options, view, cwd } = settings
  const runFile = chooseServer(await readRunFiles(settings.stateDir), settings)
  if (typeof runFile === 'string') {
    print(`${runFile}\n`)
    return 1
  }
  const answer = await askControl<undefined>(runFile, '/remount', { options, cwd, view: view ?? runFile.views[0] })
  if ('failure' in answer) {
    print(`server ${runFile.pid} ${answer.failure}\n`)
    return 1
  }
  return 0
}

/** Returns the server to remount, or the reason why there is none. */
function chooseServer(runFiles: readonly RunFile[], { view, pid, stateDir }: RemountSettings): RunFile | string {
  const fitting = runFiles.filter(
    (runFile) => (view === undefined || runFile.views.includes(view)) && (pid === undefined || runFile.pid === pid),
  )
  if (fitting.length === 1 && fitting[0]) return fitting[0]
  const wanted = view === undefined ? 'server' : `server of ${view}`
  const which = pid === undefined ? wanted : `${wanted} with process ${pid}`
  if (fitting.length === 0) return `no ${which} runs with the state directory ${stateDir}; start it, or use --state-dir`
  const running = fitting.map((runFile) => `${runFile.pid} (${runFile.views.join(', ')})`).join(', ')
  return `several servers run with the state directory ${stateDir}: ${running}; choose one with --pid`
}
