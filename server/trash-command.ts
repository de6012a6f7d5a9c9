import type { TrashRequest } from '../config/index.ts'
import type { Output } from './config-command.ts'
import { type Answer, askServer, chooseConfigServer } from './config-server.ts'
import { confirm, type Input } from './confirm.ts'
import type { TrashDescription } from './registry/trash.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'

/**
 * `overlayd trash …`: asks the running server, and prints the result. Returns the exit status: 0, or 1 if the server cannot be reached.
 *
 * @throws OptionError as the server reported it, or the answer was no; nothing has changed
 */
export async function askForTrash(asked: TrashRequest, input: Input, output: Output): Promise<number> {
  const { print, printError } = output
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  const { verb, template, id, yes, json } = asked
  const what = id ?? (template === undefined ? 'everything in the trash' : `what ${template} has in the trash`)
  if (verb === 'empty' && !yes) await confirm('empty', `Delete ${what} for good?`, input, printError)
  const which = { ...(template !== undefined && { template }), ...(id !== undefined && { id }) }
  const answer = await send(server, { ...asked, verb }, which)
  if ('failure' in answer) {
    printError(`overlayd: server ${server.pid} ${answer.failure}\n`)
    return 1
  }
  const found = answer.result
  if (json) print(`${JSON.stringify(verb === 'restore' ? found[0] : found, null, 2)}\n`)
  else if (verb === 'list') print(table(found))
  else if (verb === 'restore') print(`restored ${found[0]?.path}\n`)
  else print(`deleted ${found.length} views and snapshots for good\n`)
  return 0
}

async function send(
  server: RunFile,
  { verb, id = '', name }: TrashRequest,
  which: { readonly template?: string; readonly id?: string },
): Promise<Answer<readonly TrashDescription[]>> {
  if (verb === 'list') return await askServer(server, 'trash list', which)
  if (verb === 'empty') return await askServer(server, 'trash empty', which)
  const answer = await askServer(server, 'trash restore', { id, ...(name !== undefined && { name }) })
  return 'failure' in answer ? answer : { result: [answer.result] }
}

function table(entries: readonly TrashDescription[]): string {
  if (entries.length === 0) return 'the trash is empty\n'
  const time = (text: string) => text.slice(0, 19).replace('T', ' ')
  const rows = [
    ['ID', 'WAS', 'REMOVED', 'KEPT UNTIL'],
    ...entries.map(({ id, path, removed, ends }) => [id, path, time(removed), time(ends)]),
  ]
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => [...(row[column] as string)].length)))
  const line = (row: readonly string[]) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ')
  return `${rows.map(line).join('\n')}\n`
}
