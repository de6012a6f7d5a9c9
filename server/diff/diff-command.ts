import type { DiffRequest } from '../../config/index.ts'
import type { Output } from '../config-command.ts'
import { chooseViewServer, streamServer } from '../config-server.ts'
import { readRunFiles } from '../state-dir.ts'
import { pathText, shortText, statText } from './diff-text.ts'
import type { DifferenceLine, DiffOrder, LastLine } from './view-differences.ts'

/**
 * `overlayd diff`: asks the running server what differs in a view, and prints it. Returns the exit status: 0, or 1 if the server cannot be reached or
 * cannot read the view.
 *
 * @throws OptionError as the server reported it
 */
export async function printDifferences(asked: DiffRequest, { print, printError }: Output): Promise<number> {
  const { view, against, paths, form, all } = asked
  const server = chooseViewServer(await readRunFiles(asked.stateDir), { ...asked, view: view.split('/', 1)[0] })
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  const order: DiffOrder = {
    ...{ view, paths, contents: form === 'patch', same: all },
    ...(against !== undefined && { against }),
  }
  const found: DifferenceLine[] = []
  let last: LastLine | undefined
  const failure = await streamServer(server, 'view diff', order, (line) => {
    if ('kind' in line) found.push(line)
    else last = line
  })
  const wrong = failure ?? (last === undefined ? 'ended its answer too early; its log says why' : undefined)
  if (wrong !== undefined) {
    printError(`overlayd: server ${server.pid} ${wrong}\n`)
    return 1
  }
  found.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  await printAs(form, found, print)
  if (last === undefined || !('error' in last)) return 0
  printError(`overlayd: ${view} could not be read to its end: ${last.error}\n`)
  return 1
}

async function printAs(
  form: DiffRequest['form'],
  found: readonly DifferenceLine[],
  print: (text: string) => void,
): Promise<void> {
  if (form === 'json') print(`${JSON.stringify(found, null, 2)}\n`)
  else if (form === 'stat') print(statText(found))
  else if (form === 'patch') {
    const { patchText } = await import('./patch-text.ts')
    for (const line of found) print(patchText(line))
  } else if (form === 'name-only') for (const { path, type } of found) print(`${pathText(path, type)}\n`)
  else for (const line of found) print(shortText(line))
}
