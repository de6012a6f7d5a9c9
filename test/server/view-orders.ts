import type { ChildProcess } from 'node:child_process'
import { askControl } from '../../server/config-server.ts'
import type { SnapshotDescription, SnapshotOrder } from '../../server/registry/snapshot-requests.ts'
import type { ViewDescription, ViewOrder } from '../../server/registry/view-requests.ts'
import { readRunFiles } from '../../server/state-dir.ts'

/** Does what `overlayd view` does. @throws OptionError as the server reported it · Error the server does not answer */
export type AskViews = (order: ViewOrder) => Promise<readonly ViewDescription[]>

/** Does what `overlayd snapshot` and the like do. @throws as `AskViews` */
export type AskSnapshots = (order: SnapshotOrder) => Promise<readonly SnapshotDescription[]>

/** The way to the views of a running server, without a process for each command. */
export async function viewOrders({ child }: { readonly child: ChildProcess }, stateDir: string): Promise<AskViews> {
  return await orders<ViewOrder, ViewDescription>({ child }, stateDir, '/views')
}

/** The same for snapshots. */
export async function snapshotOrders(
  { child }: { readonly child: ChildProcess },
  stateDir: string,
): Promise<AskSnapshots> {
  return await orders<SnapshotOrder, SnapshotDescription>({ child }, stateDir, '/snapshots')
}

async function orders<Order extends object, Description>(
  { child }: { readonly child: ChildProcess },
  stateDir: string,
  path: string,
): Promise<(order: Order) => Promise<readonly Description[]>> {
  const runFile = (await readRunFiles(stateDir)).find(({ pid }) => pid === child.pid)
  if (runFile === undefined) throw new Error(`the server ${child.pid} has no run file in ${stateDir}`)
  return async (order) => {
    const answer = await askControl<readonly Description[]>(runFile, path, order)
    if ('failure' in answer) throw new Error(answer.failure)
    return answer.result
  }
}
