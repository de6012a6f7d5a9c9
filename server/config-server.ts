import { createInterface } from 'node:readline'
import { Agent, type Dispatcher, request } from 'undici'
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

/** The running server of a view, or the reason why there is none. */
export function chooseViewServer(
  running: readonly RunFile[],
  { view, pid, stateDir }: ServerChoice & { readonly view: string | undefined },
): RunFile | string {
  const fitting = running.filter(
    (server) => (view === undefined || server.views.includes(view)) && (pid === undefined || server.pid === pid),
  )
  if (fitting.length === 1 && fitting[0]) return fitting[0]
  const wanted = view === undefined ? 'server' : `server of ${view}`
  const which = pid === undefined ? wanted : `${wanted} with process ${pid}`
  if (fitting.length === 0) return `no ${which} runs with the state directory ${stateDir}; start it, or use --state-dir`
  const several = fitting.map((server) => `${server.pid} (${server.views.join(', ')})`).join(', ')
  return `several servers run with the state directory ${stateDir}: ${several}; choose one with --pid`
}

/** The result of a control request, or a text that says why there is none. */
export type ControlAnswer<Result> = { readonly result: Result } | { readonly failure: string }

/**
 * Sends a request to the control listener of a server. An answer without content has the result undefined.
 *
 * @throws OptionError as the server reported it; nothing has changed
 */
export async function askControl<Result>(server: RunFile, path: string, body?: object): Promise<ControlAnswer<Result>> {
  return await send(server, path, body, async (answer) => {
    if (answer.statusCode === 204) return { result: undefined as Result }
    return { result: (await answer.body.json()) as Result }
  })
}

/**
 * Sends a request whose answer is lines of JSON, of which each is given to `take` as it comes. Returns a text that says why there is no answer, or nothing.
 *
 * @throws OptionError as the server reported it
 */
export async function streamControl<Line>(
  server: RunFile,
  path: string,
  body: object,
  take: (line: Line) => void,
): Promise<string | undefined> {
  const answer = await send(server, path, body, async ({ body }) => {
    for await (const line of createInterface({ input: body, crlfDelay: Number.POSITIVE_INFINITY }))
      take(JSON.parse(line))
    return { result: undefined }
  })
  return 'failure' in answer ? answer.failure : undefined
}

async function send<Result>(
  { control: { port, token } }: RunFile,
  path: string,
  body: object | undefined,
  read: (answer: Dispatcher.ResponseData) => Promise<ControlAnswer<Result>>,
): Promise<ControlAnswer<Result>> {
  const dispatcher = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS })
  const headers = { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) }
  try {
    const url = `http://127.0.0.1:${port}${path}`
    const answer = await request(url, { method: 'POST', headers, dispatcher, body: body ? JSON.stringify(body) : null })
    if (answer.statusCode === 200 || answer.statusCode === 204) return await read(answer)
    if (answer.statusCode === 400) throw optionError((await answer.body.json()) as ControlError)
    await answer.body.dump()
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
