import type { SnapshotRequest } from '../config/index.ts'
import type { Output } from './config-command.ts'
import { type Answer, askServer, chooseConfigServer } from './config-server.ts'
import { confirm, type Input } from './confirm.ts'
import type { SnapshotDescription } from './registry/snapshot-requests.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'

/**
 * `overlayd snapshot`, `snapshots`, `rollback`, `reset`, `restore`, `dedupe`, `fork` and `squash`: asks the running server, and prints the result. Returns the exit status: 0, or 1 if the server
 * cannot be reached.
 *
 * @throws OptionError as the server reported it, or the answer was no; nothing has changed
 */
export async function askForSnapshots(asked: SnapshotRequest, input: Input, output: Output): Promise<number> {
  const { print, printError } = output
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  await ask(asked, input, output)
  const { verb, json } = asked
  const answer = await order(server, asked)
  if ('failure' in answer) {
    printError(`overlayd: server ${server.pid} ${answer.failure}\n`)
    return 1
  }
  const found = answer.result
  if (json) print(`${JSON.stringify(verb === 'list' ? found : found[0], null, 2)}\n`)
  else print(verb === 'list' ? table(found) : found.map((each) => done(verb, each)).join(''))
  return 0
}

async function order(
  server: RunFile,
  { verb, view, name, paths, beside, drop, ttlMs, ephemeral }: SnapshotRequest,
): Promise<Answer<readonly SnapshotDescription[]>> {
  if (verb === 'list') return await askServer(server, 'snapshot list', { view })
  const send = () => {
    if (verb === 'take') return askServer(server, 'snapshot take', { view, ...(name !== undefined && { name }) })
    if (verb === 'remove') return askServer(server, 'snapshot remove', { view })
    if (verb === 'fork')
      return askServer(server, 'view fork', {
        view,
        name: name ?? '',
        ephemeral,
        ...(ttlMs !== undefined && { ttlMs }),
      })
    if (verb === 'squash') return askServer(server, 'view squash', { view })
    if (verb === 'dedupe') return askServer(server, 'view dedupe', { view })
    if (verb === 'restore') return askServer(server, 'view restore', { view, paths, beside, drop })
    if (verb === 'reset') return askServer(server, 'view reset', { view, paths, beside, drop })
    return askServer(server, 'view rollback', { view, drop })
  }
  const answer = await send()
  return 'failure' in answer ? answer : { result: [answer.result] }
}

/** @throws OptionError the answer was no, or nobody can be asked */
async function ask({ verb, view, paths, drop, yes }: SnapshotRequest, input: Input, output: Output): Promise<void> {
  if (yes || verb === 'take' || verb === 'list' || verb === 'fork' || verb === 'dedupe' || verb === 'squash') return
  const lost = drop ? 'what it contains now is lost' : 'what it contains now is kept as a snapshot'
  const all = `All its users see that at once; ${lost}.`
  const question = {
    remove: `Remove ${view}?`,
    rollback: `Roll back to ${view}? ${all}`,
    reset: `Take back all changes in ${view}${below(paths)}? ${all}`,
    restore: `Put back what ${view} has${below(paths)}? ${all}`,
  }[verb]
  await confirm(verb, question, input, output.printError)
}

function below(paths: readonly string[]): string {
  return paths.length === 0 ? '' : ` at ${paths.join(', ')}`
}

function table(snapshots: readonly SnapshotDescription[]): string {
  if (snapshots.length === 0) return 'there are no snapshots yet\n'
  const rows = [
    ['SNAPSHOT', 'TAKEN'],
    ...snapshots.map(({ path, created }) => [path, created.slice(0, 19).replace('T', ' ')]),
  ]
  const width = Math.max(...rows.map(([path = '']) => [...path].length))
  return `${rows.map(([path = '', taken]) => `${path.padEnd(width)}  ${taken}`).join('\n')}\n`
}

function done(verb: SnapshotRequest['verb'], description: SnapshotDescription): string {
  const { path, aside, released, inUse, directory, count, beside, dropped, layers, ends } = description
  if (dropped)
    return `dropped ${dropped.count} files of ${dropped.bytes} bytes that equal what is below them in ${path}\n`
  if (verb === 'take') return `kept ${path}; return to it with overlayd rollback ${path}\n`
  if (verb === 'fork')
    return `made ${path} (${directory})${ends === undefined ? '' : `; it ends by itself at ${ends}`}\n`
  if (verb === 'squash') {
    const { before = 0, after = 0 } = layers ?? {}
    if (before === after)
      return `${path} has ${before} frozen layers; none can be merged, because snapshots or forks need each of them\n`
    return `squashed ${path}: ${before} frozen layers became ${after}\n`
  }
  if (verb === 'remove') {
    const freed = inUse ? 'its layers are still in use, so this frees nothing yet' : `${released} layers were deleted`
    return `removed ${path}; ${freed}\n`
  }
  const before = aside === undefined ? 'what was there before is gone' : `what was there before is ${aside}`
  if (count === 0) return `nothing differs there, so nothing was changed in ${path}\n`
  if (count !== undefined) {
    const copies = beside?.length ? `; copies of it are at ${beside.join(', ')}` : ''
    return `put back ${count} objects in ${path}; ${before}${copies}\n`
  }
  return `${verb === 'reset' ? 'reset' : 'rolled back to'} ${path}; ${before}\n`
}
