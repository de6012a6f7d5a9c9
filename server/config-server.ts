import { OptionError } from '../overlay-core/index.ts'
import { AdminClient, AdminError, type FollowOptions } from './admin/client/admin-client.ts'
import type { OrderOf, ResultOf, VerbName } from './admin/verbs/table.ts'
import type { RunFile } from './state-dir.ts'

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

/** The result of an order, or a text that says why there is none. */
export type Answer<Result> = { readonly result: Result } | { readonly failure: string }

/**
 * Has a server execute a verb, and waits for the result, also if it is long.
 *
 * @throws OptionError as the server reported it; nothing has changed
 */
export function askServer<Name extends VerbName>(
  server: RunFile,
  name: Name,
  order: OrderOf<Name>,
  options?: FollowOptions,
): Promise<Answer<ResultOf<Name>>> {
  return asking(server, (client) => client.run(name, order, options))
}

/**
 * Has a server execute a verb whose answer is lines, of which each is given to `take` as it comes. Returns a text that says why there is no answer, or nothing.
 *
 * @throws OptionError as the server reported it
 */
export async function streamServer<Name extends VerbName>(
  server: RunFile,
  name: Name,
  order: OrderOf<Name>,
  take: (line: ResultOf<Name>) => void,
): Promise<string | undefined> {
  const answer = await asking(server, async (client) => {
    for await (const line of client.lines(name, order)) take(line)
  })
  return 'failure' in answer ? answer.failure : undefined
}

async function asking<Result>(
  { admin: { socket } }: RunFile,
  ask: (client: AdminClient) => Promise<Result>,
): Promise<Answer<Result>> {
  let client: AdminClient | undefined
  try {
    client = await AdminClient.to({ socket })
    return { result: await ask(client) }
  } catch (error) {
    if (error instanceof AdminError) return refusal(error)
    const { code, message } = error as NodeJS.ErrnoException
    const gone = code === 'ECONNREFUSED' || code === 'ENOENT'
    return { failure: gone ? 'does not listen any more' : `does not answer (${code ?? message})` }
  } finally {
    await client?.close()
  }
}

/** @throws OptionError part of the order is wrong */
function refusal({ option, message, status }: AdminError): { readonly failure: string } {
  if (option !== undefined) throw new OptionError(option, message.slice(option.length + 2))
  return { failure: status === 0 ? `says: ${message}` : `answers ${status}: ${message}` }
}
