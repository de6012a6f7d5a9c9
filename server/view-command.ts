import type { ViewRequest } from '../config/index.ts'
import type { Output } from './config-command.ts'
import { type Answer, askServer, chooseConfigServer } from './config-server.ts'
import { confirm, type Input } from './confirm.ts'
import type { ViewDescription } from './registry/view-requests.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'

/**
 * `overlayd view …`: asks the running server to list or change the views of its templates, and prints the result. Returns the exit status: 0, or 1 if the
 * server cannot be reached.
 *
 * @throws OptionError as the server reported it, or the answer was no; nothing has changed
 */
export async function askForViews(asked: ViewRequest, output: Output, input: Input = process.stdin): Promise<number> {
  const { print, printError } = output
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  const { verb, view, yes, json } = asked
  if (verb === 'remove' && !yes) await confirm('remove', `Remove ${view} with everything in it?`, input, printError)
  const answer = await order(server, asked)
  if ('failure' in answer) {
    printError(`overlayd: server ${server.pid} ${answer.failure}\n`)
    return 1
  }
  const found = answer.result
  if (json) print(`${JSON.stringify(verb === 'list' ? found : found[0], null, 2)}\n`)
  else if (verb === 'list') print(table(found))
  else if (verb === 'show') print(found.map(details).join(''))
  else for (const each of found) print(doneLine(verb, each))
  return 0
}

async function order(
  server: RunFile,
  { verb, view = '', to = '' }: ViewRequest,
): Promise<Answer<readonly ViewDescription[]>> {
  if (verb === 'list') return await askServer(server, 'view list', view === '' ? {} : { template: view })
  const answer =
    verb === 'rename'
      ? await askServer(server, 'view rename', { view, to })
      : await askServer(server, `view ${verb}`, { view })
  return 'failure' in answer ? answer : { result: [answer.result] }
}

function doneLine(verb: keyof typeof DONE, { path, directory, trashed }: ViewDescription): string {
  const mend = trashed ? `; bring it back with overlayd trash restore ${path}` : ''
  return `${DONE[verb]} ${path} (${directory})${mend}\n`
}

const DONE = { create: 'made', rename: 'renamed', remove: 'removed' } as const

function table(views: readonly ViewDescription[]): string {
  if (views.length === 0) return 'there are no views yet\n'
  const rows = [['VIEW', 'OWNER', 'MADE', 'STATE'], ...views.map(rowOf)]
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => [...(row[column] as string)].length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  return `${rows.map(line).join('\n')}\n`
}

function rowOf(view: ViewDescription): string[] {
  return [view.path, `${view.uid}:${view.gid}`, view.created.slice(0, 16).replace('T', ' '), view.state]
}

function usageLines(quota: NonNullable<ViewDescription['quota']>, whose = ''): string[][] {
  const line = (used: number, soft: number | undefined, hard: number | undefined, aboveMs: number | undefined) => {
    const limits = [soft === undefined ? '' : `soft limit ${soft}`, hard === undefined ? '' : `limit ${hard}`]
    const since = aboveMs === undefined ? '' : `above the soft limit since ${new Date(aboveMs).toISOString()}`
    return [String(used), ...limits, since].filter((part) => part !== '').join(', ')
  }
  return [
    [`${whose}bytes`, line(quota.bytes, quota.softBytes, quota.hardBytes, quota.bytesAboveSinceMs)],
    [`${whose}files`, line(quota.files, quota.softFiles, quota.hardFiles, quota.filesAboveSinceMs)],
  ]
}

function details(view: ViewDescription): string {
  const lines = [
    ['view', view.path],
    ['id', view.id],
    ['owner', `${view.uid}:${view.gid}`],
    ['made', view.created],
    ['state', view.state],
    ['directory', view.directory],
    ...(view.quota === undefined ? [] : usageLines(view.quota)),
    ...(view.project === undefined ? [] : [['project', String(view.project)]]),
    ...(view.user === undefined ? [] : usageLines(view.user, 'all ')),
    ...(view.failure === undefined ? [] : [['failure', view.failure]]),
  ]
  return `${lines.map(([name, value]) => `${`${name}:`.padEnd(11)}${value}`).join('\n')}\n`
}
