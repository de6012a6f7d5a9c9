import type { ChildProcess } from 'node:child_process'
import type { OrderOf, ResultOf, VerbName } from '../../server/admin/verbs/table.ts'
import { type Answer, askServer } from '../../server/config-server.ts'
import type { SnapshotDescription, SnapshotOrder } from '../../server/registry/snapshot-requests.ts'
import type { ViewDescription, ViewOrder } from '../../server/registry/view-requests.ts'
import { type RunFile, readRunFiles } from '../../server/state-dir.ts'

/** Does what `overlayd view` does. @throws OptionError as the server reported it · Error the server does not answer */
export type AskViews = (order: ViewOrder) => Promise<readonly ViewDescription[]>

/** Does what `overlayd snapshot` and the like do. @throws as `AskViews` */
export type AskSnapshots = (order: SnapshotOrder) => Promise<readonly SnapshotDescription[]>

type Started = { readonly child: ChildProcess }

/** The way to the views of a running server, without a process for each command. */
export async function viewOrders(server: Started, stateDir: string): Promise<AskViews> {
  const ask = await verbs(server, stateDir)
  return async ({ verb, view = '', to = '' }) => {
    if (verb === 'list') return await ask('view list', view === '' ? {} : { template: view })
    if (verb === 'rename') return [await ask('view rename', { view, to })]
    return [await ask(`view ${verb}`, { view })]
  }
}

/** The same for snapshots. */
export async function snapshotOrders(server: Started, stateDir: string): Promise<AskSnapshots> {
  const ask = await verbs(server, stateDir)
  return async ({ verb, view, name = '', paths = [], drop = false }) => {
    if (verb === 'list') return await ask('snapshot list', { view })
    if (verb === 'take') return [await ask('snapshot take', { view, ...(name !== '' && { name }) })]
    if (verb === 'remove') return [await ask('snapshot remove', { view })]
    if (verb === 'fork') return [await ask('view fork', { view, name })]
    if (verb === 'squash') return [await ask('view squash', { view })]
    if (verb === 'dedupe') return [await ask('view dedupe', { view })]
    if (verb === 'merge') return [await ask('view merge', { view, name })]
    if (verb === 'restore') return [await ask('view restore', { view, paths, drop })]
    if (verb === 'reset') return [await ask('view reset', { view, paths, drop })]
    return [await ask('view rollback', { view, drop })]
  }
}

/** Sends orders to a running server. */
export type AskVerb = <Name extends VerbName>(name: Name, order: OrderOf<Name>) => Promise<ResultOf<Name>>

/** The way to all verbs of a running server. @throws Error it has no run file */
export async function verbs({ child }: Started, stateDir: string): Promise<AskVerb> {
  const runFile = await runFileOf(child, stateDir)
  return async (name, order) => resultOf(await askServer(runFile, name, order))
}

/** The run file of a server. @throws Error it has none */
export async function runFileOf({ pid }: ChildProcess, stateDir: string): Promise<RunFile> {
  const found = (await readRunFiles(stateDir)).find((each) => each.pid === pid)
  if (found === undefined) throw new Error(`the server ${pid} has no run file in ${stateDir}`)
  return found
}

function resultOf<Result>(answer: Answer<Result>): Result {
  if ('failure' in answer) throw new Error(answer.failure)
  return answer.result
}
