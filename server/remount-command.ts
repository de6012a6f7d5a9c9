import { Agent, request } from 'undici'
import type { RemountSettings } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import type { ControlAddress, ControlError } from './control.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'

/** Long, because a remount waits for the longest running call. */
const TIMEOUT_MS = 10 * 60_000

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
  const failure = await post(runFile.control, { options, cwd, view: view ?? runFile.views[0] })
  if (failure !== undefined) {
    print(`server ${runFile.pid} ${failure}\n`)
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

async function post({ port, token }: ControlAddress, body: object): Promise<string | undefined> {
  const dispatcher = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS })
  try {
    const answer = await request(`http://127.0.0.1:${port}/remount`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      dispatcher,
    })
    if (answer.statusCode === 400) throw optionError(await answer.body.json())
    await answer.body.dump()
    return answer.statusCode === 204 ? undefined : `answered ${answer.statusCode}; see its log`
  } catch (error) {
    if (error instanceof OptionError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    return code === 'ECONNREFUSED' ? 'is no longer listening' : `does not answer (${code ?? message})`
  } finally {
    await dispatcher.close()
  }
}

function optionError(answer: unknown): OptionError {
  const { option, message } = answer as ControlError
  return new OptionError(option, message.slice(option.length + 2))
}
