import { Agent, request } from 'undici'
import { OptionError } from '../overlay-core/index.ts'
import type { ControlError } from './control.ts'
import type { RunFile } from './state-dir.ts'

/** A remount waits for all running calls, so it takes as long as the longest one. */
const TIMEOUT_MS = 10 * 60_000

/** Which server of a configuration file a command is for. */
export interface ServerChoice {
  readonly pid: number | undefined
  readonly stateDir: string
}

/** The running server of a configuration file, or why there is none. */
export function chooseConfigServer(running: readonly RunFile[], { pid, stateDir }: ServerChoice): RunFile | string {
  const fitting = running.filter((server) => server.config !== undefined && (pid === undefined || server.pid === pid))
  if (fitting.length === 1 && fitting[0]) return fitting[0]
  if (fitting.length === 0)
    return `no server of a configuration file runs with the state directory ${stateDir}; use --state-dir`
  return `several servers run with the state directory ${stateDir}: ${fitting.map((server) => server.pid).join(', ')}; use --pid`
}

/** The result of a control request, or a text that says why there is none. */
export type ControlAnswer<Result> = { readonly result: Result } | { readonly failure: string }

/**
 * Sends a request to the control listener of a server. An answer without content has the result undefined.
 *
 * @throws OptionError as the server reported it; nothing has changed
 */
export async function askControl<Result>(
  { control: { port, token } }: RunFile,
  path: string,
  body?: object,
): Promise<ControlAnswer<Result>> {
  const dispatcher = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS })
  const headers = { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) }
  try {
    const url = `http://127.0.0.1:${port}${path}`
    const answer = await request(url, { method: 'POST', headers, dispatcher, body: body ? JSON.stringify(body) : null })
    if (answer.statusCode === 200) return { result: (await answer.body.json()) as Result }
    if (answer.statusCode === 400) throw optionError((await answer.body.json()) as ControlError)
    await answer.body.dump()
    if (answer.statusCode === 204) return { result: undefined as Result }
    return { failure: `answers ${answer.statusCode}; its log says why` }
  } catch (error) {
    if (error instanceof OptionError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    return { failure: code === 'ECONNREFUSED' ? 'does not listen any more' : `does not answer (${code ?? message})` }
  } finally {
    await dispatcher.close()
  }
}

function optionError({ option, message }: ControlError): OptionError {
  return new OptionError(option, message.slice(option.length + 2))
}
