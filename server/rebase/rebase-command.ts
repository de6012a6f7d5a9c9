import { createInterface } from 'node:readline/promises'
import type { RebaseRequest } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Output } from '../config-command.ts'
import { askServer, chooseConfigServer } from '../config-server.ts'
import { readRunFiles } from '../state-dir.ts'
import { conflictsText, reportText } from './rebase-text.ts'

/** The terminal or pipe from which the answer is read. */
type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean }

/**
 * `overlayd rebase` and `conflicts`: asks the running server, and prints the result. Returns the exit status: 0, or 1 if the server cannot be reached or a view stays as it
 * was.
 *
 * @throws OptionError as the server reported it, or the answer was no; nothing has changed
 */
export async function askForRebase(asked: RebaseRequest, input: Input, output: Output): Promise<number> {
  const { verb, views, dryRun, atNextOpen, all, json } = asked
  const { print, printError } = output
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  if (verb === 'conflicts') {
    const answer = await askServer(server, 'rebase conflicts', { view: views[0] ?? '' })
    if ('failure' in answer) return failed(server.pid, answer.failure, output)
    print(json ? `${JSON.stringify(answer.result, null, 2)}\n` : conflictsText(answer.result))
    return 0
  }
  if (!dryRun) await confirm(asked, input, output)
  const answer = await askServer(server, 'rebase', { views, dryRun, atNextOpen })
  if ('failure' in answer) return failed(server.pid, answer.failure, output)
  const reports = answer.result
  print(json ? `${JSON.stringify(reports, null, 2)}\n` : reportText(reports, all))
  return reports.some(({ state }) => state === 'failed' || state === 'refused') ? 1 : 0
}

function failed(pid: number, failure: string, { printError }: Output): number {
  printError(`overlayd: server ${pid} ${failure}\n`)
  return 1
}

/** @throws OptionError the answer was no, or nobody can be asked */
async function confirm({ views, yes, atNextOpen }: RebaseRequest, input: Input, { printError }: Output): Promise<void> {
  if (yes) return
  if (!input.isTTY) throw new OptionError('rebase', 'asks before it changes anything; add --yes, or --dry-run')
  const when = atNextOpen ? 'when they are opened next' : 'now, under their clients'
  printError(`Put ${views.join(', ')} on the newest version ${when}? What they contain is kept as snapshots. [y/N] `)
  const lines = createInterface({ input })
  const answer = await lines.question('')
  lines.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new OptionError('rebase', 'the answer was not yes; nothing has changed')
}
